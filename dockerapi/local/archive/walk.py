"""Walking a tree that may be hostile, by descriptors.

Rule: each directory is opened by one name in its open parent and never through a link, so that
nothing outside the tree is reached whatever changes meanwhile.
"""

from __future__ import annotations

import os
import stat

#: Not typing's, whose import takes a child longer than all else that it does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Entry:
    """A file of a tree.

    :ivar parent: the open directory that it is in; `name` is its name there.
    :ivar path: where it is in the tree, without a slash at the beginning.
    """

    __slots__ = ("name", "parent", "path", "status")

    def __init__(self, parent: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        self.parent = parent
        self.name = name
        self.path = path
        self.status = status


class Files:
    """Opens files that were looked at, and surely the same; to be made before a root is entered.

    Opened by its name a file might have become a device meanwhile, and that does things.
    """

    def __init__(self) -> None:
        self._descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def open(self, entry: Entry) -> int:
        """Return a descriptor of a regular file; raises OSError, also where it is none any more."""
        handle = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=entry.parent)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(f"no regular file any more: {entry.path!r}")
            flags = os.O_RDONLY | os.O_CLOEXEC
            return os.open(b"%d" % handle, flags, dir_fd=self._descriptors)
        finally:
            os.close(handle)


def walk(directory: int, enters: Callable[[bytes], bool] | None = None) -> Iterator[Entry]:
    """Give everything in an open directory, in the order of paths, directories before content.

    What vanishes meanwhile, or cannot be listed, is left out, and so is what is in directories on
    which something is mounted, unless `enters` says of their paths that it is wanted. The
    descriptors of entries are good until the next one is asked for.
    """
    device = os.fstat(directory).st_dev
    levels: list[tuple[int, bytes, Iterator[bytes]]] = [(directory, b"", _names(directory))]
    try:
        while levels:
            parent, above, names = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                if parent != directory:
                    os.close(parent)
                continue
            try:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except OSError:
                continue  # It is gone.
            path = above + name
            yield Entry(parent, name, path, status)
            if stat.S_ISDIR(status.st_mode):
                if status.st_dev != device and not (enters is not None and enters(path)):
                    continue
                try:
                    inner = os.open(name, _DIRECTORY, dir_fd=parent)
                except OSError:
                    continue  # It is gone, or something else by now.
                levels.append((inner, path + b"/", _names(inner)))
    finally:
        for inner, _, _ in levels:
            if inner != directory:
                os.close(inner)


def _names(directory: int) -> Iterator[bytes]:
    try:
        return iter(sorted(os.fsencode(name) for name in os.listdir(directory)))
    except OSError:
        return iter(())
