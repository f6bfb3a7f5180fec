"""How many bytes the files beneath a directory have, as dockerd counts them.

Rule: it blocks for a system call for each file, so it runs in a thread; no link leads it out of
the directory, and what disappears or cannot be reached meanwhile does not count.
"""

from __future__ import annotations

import os

from dockerapi.local.host.syscalls import Resolve, openat2

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WITHIN = Resolve.BENEATH | Resolve.NO_SYMLINKS


def tree_size(path: str | os.PathLike[str]) -> int:
    """Return the bytes of all that lies beneath `path` but directories; hard links count once."""
    try:
        root = os.open(path, _DIRECTORY)
    except OSError:
        return 0
    total = 0
    linked: set[tuple[int, int]] = set()
    pending = ["."]
    try:
        while pending:
            place = pending.pop()
            try:
                directory = openat2(root, place, _DIRECTORY, resolve=_WITHIN)
            except OSError:
                continue
            try:
                total += _files_size(directory, place, pending, linked)
            finally:
                os.close(directory)
    finally:
        os.close(root)
    return total


def _files_size(
    directory: int, place: str, pending: list[str], linked: set[tuple[int, int]]
) -> int:
    """Return the bytes of what is in an open directory; add the directories to `pending`."""
    total = 0
    # By descriptor, so that the kernel need not walk the whole path for each file.
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{place}/{entry.name}")
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_nlink > 1:
                file = (status.st_dev, status.st_ino)
                if file in linked:
                    continue
                linked.add(file)
            total += status.st_size
    return total
