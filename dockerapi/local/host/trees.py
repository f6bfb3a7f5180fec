"""The removal of trees that containers and archives have made.

Rule: however deep or broad a tree is, and whatever changes in it meanwhile, no link is followed,
nothing that is mounted is entered, one directory is open at a time, and few names are kept.
"""

from __future__ import annotations

import errno
import itertools
import os

from dockerapi.local.host.syscalls import Resolve, openat2

#: Not typing's, whose import takes the child that uses this longer than all else that it does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

#: How many names are read of a directory before what has them is removed: it may have millions.
_NAMES = 1024
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it; nothing happens where none is.

    Blocks. Raises OSError for what cannot be removed.
    """
    try:
        parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(parent, path.name)
    except FileNotFoundError:
        return
    finally:
        os.close(parent)


def remove_at(parent: int, name: str | bytes) -> None:
    """Remove the directory `name` of the open directory `parent`, with all that is in it.

    Blocks. Raises OSError: for what cannot be removed, EBUSY for what something is mounted on,
    ESTALE where a directory was moved meanwhile.
    """
    handle = _enter(parent, name)
    try:
        # For each level its directory's number, and the names of some directories left in it.
        levels = [(os.fstat(handle).st_ino, _empty(handle))]
        while True:
            inner = levels[-1][1]
            if inner:
                below = _enter(handle, inner[-1])
                os.close(handle)
                handle = below
                levels.append((os.fstat(handle).st_ino, _empty(handle)))
                continue
            levels.pop()
            if not levels:
                break
            above = _enter(handle, "..")
            os.close(handle)
            handle = above
            number, inner = levels[-1]
            if os.fstat(handle).st_ino != number:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), inner[-1])
            os.rmdir(inner.pop(), dir_fd=handle)
            if not inner:
                # There may be more of them.
                inner += _empty(handle)
    finally:
        os.close(handle)
    os.rmdir(name, dir_fd=parent)


def _enter(parent: int, name: str | bytes) -> int:
    """Return a descriptor of a directory that is no link, and on which nothing is mounted."""
    try:
        return openat2(parent, name, _DIRECTORY, resolve=Resolve.NO_XDEV | Resolve.NO_SYMLINKS)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name) from error


def _empty(directory: int) -> list[str]:
    """Remove from an open directory what is none itself; return names of some that are.

    Nothing is left in it where there are no such names.
    """
    while True:
        found: list[str] = []
        reads = 0
        with os.scandir(directory) as entries:
            while few := list(itertools.islice(entries, _NAMES)):
                reads += 1
                found += _remove_files(directory, few)
                if len(found) >= _NAMES:
                    return found
        # Where something was removed between two reads, the second may have left others out.
        if found or reads < 2:
            return found


def _remove_files(directory: int, entries: list[os.DirEntry[str]]) -> list[str]:
    """Remove those of `entries` that are no directories; return the names of the others."""
    found = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            found.append(entry.name)
            continue
        try:
            os.unlink(entry.name, dir_fd=directory)
        except FileNotFoundError:
            continue  # Somebody else has removed it.
    return found
