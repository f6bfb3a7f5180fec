"""A new layer of an image, made of what a container has changed.

The layer's directory and the digest of its archive are made in one pass; the archive itself is not
kept, since `write_layer` writes the same bytes again. Rule: what a layer's directory holds is what
its archive says, no more.
"""

from __future__ import annotations

import hashlib
import os
import queue
import stat
import threading

from dockerapi.local.archive.upper import is_made_by_start, is_opaque, is_whiteout, set_opaque
from dockerapi.local.archive.walk import Entry, Files, walk
from dockerapi.local.archive.writing import TarWriter, open_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dockerapi.local.archive.writing import Output

_CHUNK = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: How many pieces wait to be hashed at most.
_BEHIND = 8


class Digest:
    """An output that takes the archive's digest in a thread, and copies contents on the way.

    :ivar target: where the next content is copied to; None for nowhere.
    :ivar size: the bytes of all contents so far, and of symbolic links.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(_BEHIND)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._pending = bytearray()
        self.target: int | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        """Take a part of the archive that is no content."""
        self._pending += data
        if len(self._pending) >= _CHUNK:
            self._flush()

    def copy(self, descriptor: int, size: int) -> int:
        """Take a content, up to `size` bytes of a file; return how many there were."""
        left = size
        while left and (data := os.read(descriptor, min(_CHUNK, left))):
            left -= len(data)
            if len(data) < _CHUNK:
                self.write(data)
            else:
                self._flush()
                self._queue.put(data)
            view = memoryview(data)
            while self.target is not None and view:
                view = view[os.write(self.target, view) :]
        if left and self.target is not None:
            # The archive is filled up with zeros too.
            os.ftruncate(self.target, size)
        self.size += size - left
        return size - left

    def finish(self) -> str:
        """Return the digest of all that was taken."""
        self._flush()
        self._queue.put(None)
        self._thread.join()
        return f"sha256:{self._hash.hexdigest()}"

    def _flush(self) -> None:
        if self._pending:
            self._queue.put(bytes(self._pending))
            self._pending.clear()

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            self._hash.update(data)


def make_layer(upper: bytes, target: bytes) -> tuple[str, int]:
    """Make the layer of the directory `upper` in the empty directory `target`.

    Returns its diff id and the bytes of files and links in it. Raises OSError.
    """
    output = Digest()
    _Layer(output, target).make(upper)
    return output.finish(), output.size


def write_layer(layer: bytes, output: Output) -> None:
    """Write the archive of a layer that `make_layer` made, the same bytes again."""
    _Layer(output, None).make(layer)


class _Layer:
    def __init__(self, output: Output, target: bytes | None) -> None:
        self._output = output
        self._files = Files()
        self._writer = TarWriter(output, self._files)
        self._target = None if target is None else os.open(target, _DIRECTORY)
        self._seen: dict[tuple[int, int], bytes] = {}
        self._times: list[tuple[bytes, int]] = []

    def make(self, upper: bytes) -> None:
        root = os.open(upper, _DIRECTORY)
        for entry in walk(root):
            self._add(entry)
        self._writer.end()
        os.close(root)
        for path, mtime in reversed(self._times):
            os.utime(path, (mtime, mtime), dir_fd=self._target)

    def _add(self, entry: Entry) -> None:
        status, mode = entry.status, entry.status.st_mode
        if is_whiteout(status):
            self._writer.whiteout(entry.path)
            if self._target is not None:
                os.mknod(entry.path, stat.S_IFCHR, os.makedev(0, 0), dir_fd=self._target)
        elif self._target is not None and is_made_by_start(entry.path, status):
            if stat.S_ISDIR(mode):
                # Something may be in it.
                self._add_directory(entry)
        elif stat.S_ISDIR(mode):
            self._add_directory(entry)
        elif stat.S_ISREG(mode):
            self._add_file(entry)
        else:
            self._writer.add(entry, entry.path)
            if self._target is not None and not stat.S_ISSOCK(mode):
                self._copy_special(entry, self._target)

    def _add_directory(self, entry: Entry) -> None:
        self._writer.add(entry, entry.path + b"/")
        source = open_directory(entry)
        try:
            opaque = is_opaque(source)
            if opaque:
                self._writer.opaque(entry.path + b"/")
            if self._target is not None:
                os.mkdir(entry.path, 0o700, dir_fd=self._target)
                copy = os.open(entry.path, _DIRECTORY, dir_fd=self._target)
                try:
                    _copy_attributes(source, copy, entry.status)
                    if opaque:
                        set_opaque(copy)
                finally:
                    os.close(copy)
                self._times.append((entry.path, _seconds(entry.status)))
        finally:
            os.close(source)

    def _add_file(self, entry: Entry) -> None:
        if self._target is None:
            self._writer.add(entry, entry.path)
            return
        if self._link(entry, self._target):
            self._writer.add(entry, entry.path)
            return
        copy = os.open(entry.path, _NEW_FILE, 0o600, dir_fd=self._target)
        try:
            assert isinstance(self._output, Digest)
            self._output.target = copy
            written = self._writer.add(entry, entry.path)
            self._output.target = None
            if not written:
                os.unlink(entry.path, dir_fd=self._target)
                return
            source = self._files.open(entry)
            try:
                _copy_attributes(source, copy, entry.status)
            finally:
                os.close(source)
            os.utime(copy, (_seconds(entry.status),) * 2)
        finally:
            os.close(copy)

    def _copy_special(self, entry: Entry, target: int) -> None:
        status = entry.status
        if self._link(entry, target):
            return
        if stat.S_ISLNK(status.st_mode):
            link = os.readlink(entry.name, dir_fd=entry.parent)
            os.symlink(link, entry.path, dir_fd=target)
            assert isinstance(self._output, Digest)
            self._output.size += len(link)
        else:
            os.mknod(entry.path, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)
        os.chown(entry.path, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(entry.path, stat.S_IMODE(status.st_mode), dir_fd=target)
        times = (_seconds(status),) * 2
        os.utime(entry.path, times, dir_fd=target, follow_symlinks=False)

    def _link(self, entry: Entry, target: int) -> bool:
        """Make a second name of a file and return True where it has one already."""
        status = entry.status
        if status.st_nlink < 2:
            return False
        first = self._seen.setdefault((status.st_dev, status.st_ino), entry.path)
        if first == entry.path:
            return False
        os.link(first, entry.path, src_dir_fd=target, dst_dir_fd=target, follow_symlinks=False)
        return True


def _seconds(status: os.stat_result) -> int:
    return status.st_mtime_ns // 1_000_000_000


def _copy_attributes(source: int, copy: int, status: os.stat_result) -> None:
    # In this order: a change of owner drops set-uid bits and capabilities.
    os.fchown(copy, status.st_uid, status.st_gid)
    os.fchmod(copy, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if name == "security.capability" or name.startswith("user."):
            os.setxattr(copy, name, os.getxattr(source, name))
