"""What a container has changed in its image: its upper directory, compared with the layers below.

Source: dockerd's rules: a directory is told where it or something in it has changed, of a removed
one only itself. Rule: the upper directory may change meanwhile and is walked by descriptors; layers
never change, and each component of a path in them was seen to be a plain directory.
"""

from __future__ import annotations

import os
import stat

from dockerapi.local.archive.upper import is_made_by_start, is_opaque, is_whiteout

#: Not typing's, whose import takes a child longer than all else that it does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODIFIED, ADDED, DELETED = 0, 1, 2
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CAPABILITY = "security.capability"


class _Level:
    """A directory under way.

    :ivar below: where it is in the layers, topmost first; empty where they do not have it.
    :ivar told: whether it has been told of.
    """

    def __init__(self, descriptor: int, path: bytes, below: Sequence[bytes], told: bool) -> None:
        self.descriptor = descriptor
        self.path = path
        self.below = below
        self.told = told
        self.opaque = is_opaque(descriptor)
        names = {os.fsencode(name) for name in os.listdir(descriptor)}
        if self.opaque:
            names |= _names(below)
        self.names = iter(sorted(names))


class Comparison:
    """One comparison; `tell` gets the kind and the path of each change, with its first slash."""

    def __init__(self, upper: bytes, layers: Sequence[bytes], tell: Callable[[int, bytes], None]):
        self._tell_one = tell
        root = os.open(upper, _DIRECTORY)
        self._levels = [_Level(root, b"", layers, told=True)]

    def run(self) -> None:
        """Tell every change, in the order of paths."""
        while self._levels:
            level = self._levels[-1]
            name = next(level.names, None)
            if name is None:
                os.close(self._levels.pop().descriptor)
                continue
            try:
                status = os.stat(name, dir_fd=level.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                if level.opaque and _below(level.below, name)[0] is not None:
                    self._tell(DELETED, level.path + name)
                continue
            self._compare(level, name, status)

    def _compare(self, level: _Level, name: bytes, status: os.stat_result) -> None:
        path = level.path + name
        old, below = _below(level.below, name)
        if is_whiteout(status):
            if old is not None:
                self._tell(DELETED, path)
            return
        told = False
        if old is None:
            # Its content is a user's all the same.
            if not is_made_by_start(path, status):
                self._tell(ADDED, path)
            told = True
        elif _differ(level.descriptor, name, status, old[0], old[1]):
            self._tell(MODIFIED, path)
            told = True
        if stat.S_ISDIR(status.st_mode):
            try:
                inner = os.open(name, _DIRECTORY, dir_fd=level.descriptor)
            except OSError:
                return  # It is gone, or something else by now.
            self._levels.append(_Level(inner, path + b"/", below, told))

    def _tell(self, kind: int, path: bytes) -> None:
        """Tell a change, and before it of the directories that it is in."""
        for level in self._levels:
            if not level.told and path.startswith(level.path):
                self._tell_one(MODIFIED, b"/" + level.path[:-1])
                level.told = True
        self._tell_one(kind, b"/" + path)


def _below(
    directories: Sequence[bytes], name: bytes
) -> tuple[tuple[bytes, os.stat_result] | None, list[bytes]]:
    """Return what the layers have of a name, and where, if it is a directory, its content is."""
    first: tuple[bytes, os.stat_result] | None = None
    found: list[bytes] = []
    for directory in directories:
        path = directory + b"/" + name
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if is_whiteout(status):
            break
        if not stat.S_ISDIR(status.st_mode):
            first = first or (path, status)
            break
        first = first or (path, status)
        found.append(path)
        if is_opaque(path):
            break
    return first, found


def _names(directories: Sequence[bytes]) -> set[bytes]:
    return {os.fsencode(name) for directory in directories for name in os.listdir(directory)}


def _differ(
    parent: int, name: bytes, new: os.stat_result, old_path: bytes, old: os.stat_result
) -> bool:
    """Tell whether a file has changed; times and sizes of directories say nothing."""
    if (new.st_mode, new.st_uid, new.st_gid, new.st_rdev) != (
        *(old.st_mode, old.st_uid, old.st_gid, old.st_rdev),
    ):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    if new.st_size != old.st_size or not _same_time(new.st_mtime_ns, old.st_mtime_ns):
        return True
    return stat.S_ISREG(new.st_mode) and _capability(parent, name) != _capability(None, old_path)


def _same_time(one: int, other: int) -> bool:
    """Compare times; archives have whole seconds only."""
    seconds = 1_000_000_000
    same = one // seconds == other // seconds
    return same and (one == other or not one % seconds or not other % seconds)


def _capability(parent: int | None, name: bytes) -> bytes:
    try:
        # Without effect: by this name there may be a device meanwhile.
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            return os.getxattr(f"/proc/self/fd/{handle}", _CAPABILITY)
        finally:
            os.close(handle)
    except OSError:
        return b""  # None, or the file is gone.
