"""Files and directories inside a root that may be hostile, such as a container's.

Rule: every path is resolved by the kernel beneath the root (openat2: RESOLVE_IN_ROOT and
RESOLVE_NO_MAGICLINKS), links and `..` included; what is read must be regular and of bounded size.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from dockerapi.local.host.syscalls import Resolve, StrPath, openat2

_CONFINED = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
#: The kernel's own limit on symbolic links in one path.
_MOST_LINKS = 40
#: How often an open is tried again that a concurrent rename disturbed (EAGAIN).
_TRIES = 64


@contextmanager
def opened_root(root: StrPath) -> Iterator[int]:
    """Give a descriptor of the directory `root`, closed at the end; itself no symbolic link."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_beneath(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open `path` inside the directory `root` and return a descriptor.

    Raises OSError as open(2); ELOOP for magic links.
    """
    for attempt in range(_TRIES):
        try:
            return openat2(root, path, flags, mode, _CONFINED)
        except BlockingIOError:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def open_regular(root: int, path: str) -> int:
    """Open the regular file `path` inside the directory `root` for reading; return a descriptor.

    Raises OSError, EINVAL for what is no regular file: opening a device or a pipe may do harm.
    """
    handle = open_beneath(root, path, os.O_PATH)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def read_beneath(root: StrPath, path: str, limit: int) -> bytes:
    """Return the content of the regular file `path` inside `root`.

    Raises OSError: ENOENT, EINVAL where it is no regular file, EFBIG where it is longer than
    `limit` bytes.
    """
    with opened_root(root) as directory:
        descriptor = open_regular(directory, path)
    with open(descriptor, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"longer than {limit} bytes", path)
    return content


def make_directories(
    root: StrPath, path: str, *, uid: int = 0, gid: int = 0, mode: int = 0o755
) -> bool:
    """Make the directory `path` inside `root` with its parents, as ``mkdir -p``.

    What is made belongs to `uid`:`gid` and has exactly `mode`; what exists stays as it is. A
    symbolic link that leads nowhere has its target made, inside `root`. Returns whether anything
    was made. Raises OSError: ENOTDIR where something else is in the way, ELOOP for too many links.
    """
    pending = deque(part for part in posixpath.normpath("/" + path).split("/") if part)
    reached = "/"
    links = 0
    made = False
    with opened_root(root) as directory:
        while pending:
            name = pending.popleft()
            step = posixpath.join(reached, name)
            if _is_directory(directory, step):
                reached = step
                continue
            parent = open_beneath(directory, reached, os.O_PATH | os.O_DIRECTORY)
            try:
                target = _make_or_read_link(parent, name, uid, gid, mode)
            finally:
                os.close(parent)
            if target is None:
                made = True
                reached = step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                reached = "/"
            pending.extendleft(reversed([part for part in target.split("/") if part]))
    return made


def make_file(root: StrPath, path: str, mode: int = 0o755) -> bool:
    """Make an empty file at `path` inside `root`, with its parents; return whether it was made.

    What exists stays as it is, whatever it is. Raises OSError: as `make_directories`, and EEXIST
    for a symbolic link that leads nowhere.
    """
    with opened_root(root) as directory:
        try:
            os.close(open_beneath(directory, path, os.O_PATH))
        except FileNotFoundError:
            make_directories(root, posixpath.dirname(posixpath.normpath("/" + path)))
        else:
            return False
        # Exclusive: something else may be there by now, and to open it might do harm.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = open_beneath(directory, path, flags, mode)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    return True


def _is_directory(root: int, path: str) -> bool:
    try:
        os.close(open_beneath(root, path, os.O_PATH | os.O_DIRECTORY))
    except FileNotFoundError:
        return False
    return True


def _make_or_read_link(parent: int, name: str, uid: int, gid: int, mode: int) -> str | None:
    """Make a directory and return None, or return the target of the link in its place."""
    try:
        os.mkdir(name, mode, dir_fd=parent)
    except FileExistsError:
        try:
            return os.readlink(name, dir_fd=parent)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name) from None
    descriptor = os.open(
        name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent
    )
    try:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    return None
