"""Paths as clients name them, inside the root that this process is confined to.

Source: dockerd's rules: a path is cleaned as text, its directory is followed through links beneath
the root, its last component only where a slash or a dot comes after it. Rule: the kernel resolves
every path beneath the root; only what it means to a client is decided here.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections import deque

from dockerapi.local.host.beneath import open_beneath
from dockerapi.local.host.syscalls import Resolve, openat2

_PLAIN = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS | Resolve.NO_SYMLINKS
#: How many links one path may have, as in dockerd.
_MOST_LINKS = 255


def cleaned(path: bytes) -> bytes:
    """Return `path` from the root without detours, with a last slash or dot where it has one."""
    clean = posixpath.normpath(b"/" + path)
    clean = b"/" + clean.lstrip(b"/")
    if path.rpartition(b"/")[2] == b".":
        return clean.rstrip(b"/") + b"/."
    return clean if clean == b"/" or not path.endswith(b"/") else clean + b"/"


def base_name(path: bytes) -> bytes:
    """Return the last component of a cleaned path; a slash for the root."""
    return path.rstrip(b"/").rpartition(b"/")[2] or b"/"


class Found:
    """What a path names.

    :ivar path: the path, cleaned; `directory` and `name` are its parts.
    :ivar target: where the link leads that it is; empty for all else.
    """

    def __init__(self, root: int, path: bytes) -> None:
        """Look `path` up; raises OSError."""
        self.path = cleaned(path)
        self.directory, _, self.name = self.path.rpartition(b"/")
        self.directory += b"/"
        if self.name in (b"", b"."):
            flags = os.O_PATH | os.O_DIRECTORY
            handle = open_beneath(root, self.directory, flags)
        else:
            handle = open_beneath(root, self.path, os.O_PATH | os.O_NOFOLLOW)
        try:
            self.status = os.fstat(handle)
        finally:
            os.close(handle)
        is_link = stat.S_ISLNK(self.status.st_mode)
        self.target = followed(root, self.path) if is_link else b""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)


def followed(root: int, path: bytes) -> bytes:
    """Return where `path` leads in the end; what does not exist leads to itself.

    Raises OSError for too many links.
    """
    pending = deque(path.split(b"/"))
    reached: list[bytes] = []
    links = 0
    while pending:
        part = pending.popleft()
        if part in (b"", b"."):
            continue
        if part == b"..":
            del reached[-1:]
            continue
        reached.append(part)
        target = _link(root, b"/" + b"/".join(reached))
        if target is None:
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith(b"/"):
            reached.clear()
        else:
            reached.pop()
        pending.extendleft(reversed(target.split(b"/")))
    return b"/" + b"/".join(reached)


def open_plain(root: int, path: bytes, flags: int) -> int:
    """Open a path that has been followed: where a link has come into it, ELOOP is raised."""
    return openat2(root, path, flags, 0, _PLAIN)


def _link(root: int, path: bytes) -> bytes | None:
    """Return the target of the link `path`, or None where it is none."""
    try:
        handle = open_plain(root, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if stat.S_ISLNK(os.fstat(handle).st_mode):
            return os.readlink(b"", dir_fd=handle)
    finally:
        os.close(handle)
    return None
