"""Writing files as members of a tar archive.

Rule: what cannot be read is left out, and a file that shrinks meanwhile is filled up with zeros,
since its header has promised its size; no sendfile(2), which holds the pipe while the disk is read.
"""

from __future__ import annotations

import os
import stat

from dockerapi.local.archive import headers

#: Not typing's, whose import takes a child longer than all else that it does.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from dockerapi.local.archive.walk import Entry, Files

    class Output(Protocol):
        """Where an archive goes."""

        def write(self, data: bytes) -> None:
            """Take `data`."""
            ...

        def copy(self, descriptor: int, size: int) -> int:
            """Take up to `size` bytes of a file from where it stands; return how many."""
            ...


#: Contents up to this size are gathered with headers for one write, in bytes.
_SMALL = 1 << 16
_CHUNK = 1 << 20
#: What is read at once of larger ones, in bytes: what the processor's caches hold.
_BUFFER = 1 << 18
_CAPABILITY = "security.capability"
_USER = "user."


class Pipe:
    """An output by a descriptor; `flush` it at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = bytearray()
        self._buffer = memoryview(bytearray(_BUFFER))

    def write(self, data: bytes) -> None:
        """Keep `data` for the next write, or write it."""
        self._pending += data
        if len(self._pending) >= _SMALL:
            self.flush()

    def copy(self, descriptor: int, size: int) -> int:
        """Send a file; small ones are gathered."""
        if size <= _SMALL:
            data = os.read(descriptor, size)
            self.write(data)
            return len(data)
        self.flush()
        sent = 0
        while sent < size:
            count = os.readv(descriptor, [self._buffer[: size - sent]])
            if not count:
                break
            sent += count
            self._write(self._buffer[:count])
        return sent

    def flush(self) -> None:
        """Write what is kept."""
        self._write(memoryview(bytes(self._pending)))
        self._pending.clear()

    def _write(self, view: memoryview) -> None:
        while view:
            view = view[os.write(self._descriptor, view) :]


class Length:
    """An output that counts.

    :ivar length: the bytes so far.
    """

    def __init__(self) -> None:
        self.length = 0

    def write(self, data: bytes) -> None:
        """Count `data`."""
        self.length += len(data)

    def copy(self, descriptor: int, size: int) -> int:
        """Count a content without reading it."""
        self.length += size
        return size


class TarWriter:
    """Writes members; `end` it."""

    def __init__(self, output: Output, files: Files) -> None:
        self._output = output
        self._files = files
        self._seen: dict[tuple[int, int], bytes] = {}

    def add(self, entry: Entry, name: bytes) -> bool:
        """Write `entry` as the member `name`, which for a directory ends with a slash.

        A second name of a file becomes a link to the first. Returns False where nothing was
        written: sockets are left out, and what is gone.
        """
        status = entry.status
        if stat.S_ISREG(status.st_mode):
            return self._add_file(entry, name)
        kind, link, device = _KINDS.get(stat.S_IFMT(status.st_mode)), b"", (0, 0)
        if kind is None:
            return False
        attributes: dict[bytes, bytes] = {}
        if kind == headers.SYMLINK:
            try:
                link = os.readlink(entry.name, dir_fd=entry.parent)
            except OSError:
                return False  # It is gone, or no link any more.
        elif kind == headers.DIRECTORY:
            attributes = _directory_attributes(entry)
        elif kind in (headers.CHARACTER, headers.BLOCK_DEVICE):
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        if kind == headers.DIRECTORY or not self._is_second_name(entry, name):
            self._write(name, kind, status, link=link, device=device, attributes=attributes)
        return True

    def whiteout(self, path: bytes) -> None:
        """Write that what is called `path` below is hidden (OCI image-spec, layer.md)."""
        directory, slash, base = path.rpartition(b"/")
        self._output.write(headers.header(directory + slash + b".wh." + base, b"0", mode=0))

    def opaque(self, directory: bytes) -> None:
        """Write that what is in `directory` (with its slash) below is hidden."""
        self._output.write(headers.header(directory + b".wh..wh..opq", b"0", mode=0))

    def end(self) -> None:
        """Write the archive's end."""
        self._output.write(headers.END)

    def _add_file(self, entry: Entry, name: bytes) -> bool:
        if self._is_second_name(entry, name):
            return True
        try:
            descriptor = self._files.open(entry)
        except OSError:
            return False  # It is gone, or no file any more.
        try:
            status = os.fstat(descriptor)
            attributes = _attributes(descriptor)
            self._write(name, headers.FILE, status, size=status.st_size, attributes=attributes)
            missing = status.st_size - self._output.copy(descriptor, status.st_size)
        finally:
            os.close(descriptor)
        while missing > 0:
            self._output.write(bytes(min(missing, _CHUNK)))
            missing -= _CHUNK
        self._output.write(headers.padding(status.st_size))
        return True

    def _is_second_name(self, entry: Entry, name: bytes) -> bool:
        """Write a hard link and return True where the file has been written under another name."""
        status = entry.status
        if status.st_nlink < 2:
            return False
        first = self._seen.setdefault((status.st_dev, status.st_ino), name)
        if first == name:
            return False
        self._write(name, headers.HARD_LINK, status, link=first)
        return True

    def _write(
        self,
        name: bytes,
        kind: bytes,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        attributes: dict[bytes, bytes] | None = None,
    ) -> None:
        block = headers.header(
            name,
            kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            size=size,
            mtime=status.st_mtime_ns // 1_000_000_000,
            link=link,
            device=device,
            attributes=attributes,
        )
        self._output.write(block)


_KINDS = {
    stat.S_IFDIR: headers.DIRECTORY,
    stat.S_IFLNK: headers.SYMLINK,
    stat.S_IFCHR: headers.CHARACTER,
    stat.S_IFBLK: headers.BLOCK_DEVICE,
    stat.S_IFIFO: headers.FIFO,
}


def open_directory(entry: Entry) -> int:
    """Return a descriptor of a directory; raises OSError, also where it is none any more."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(entry.name, flags, dir_fd=entry.parent)


def _directory_attributes(entry: Entry) -> dict[bytes, bytes]:
    try:
        descriptor = open_directory(entry)
    except OSError:
        return {}
    try:
        return _attributes(descriptor)
    finally:
        os.close(descriptor)


def _attributes(descriptor: int) -> dict[bytes, bytes]:
    """Return the extended attributes that go along: capabilities, and users' own."""
    found = {}
    try:
        for name in os.listxattr(descriptor):
            if name == _CAPABILITY or name.startswith(_USER):
                found[os.fsencode(name)] = os.getxattr(descriptor, name)
    except OSError:
        return {}  # A file system without them, or they changed meanwhile.
    return {name: value for name, value in found.items() if b"=" not in name}
