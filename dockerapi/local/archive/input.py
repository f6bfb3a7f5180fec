"""An archive that comes through a pipe, perhaps compressed, read forward only.

Rule: it is told by its first bytes; no splice(2), which holds the pipe for as long as the disk
takes, so that the server, who fills it, would have to wait.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from typing import IO, TYPE_CHECKING, cast

from dockerapi.local.archive.limits import MEMBERS
from dockerapi.local.archive.tarstream import CHUNK, Damaged, ForwardStream, Refused, StrictInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer as Buffer

_GZIP = b"\x1f\x8b\x08"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"
_LONGEST_MAGIC = 6
#: How much is read at once, in bytes: who fills the pipe then has room for much, and is not woken
#: for each page.
_BUFFER = 1 << 18


class _Raw(io.RawIOBase):
    """A pipe, some of whose bytes were looked at already."""

    def __init__(self, descriptor: int, seen: bytes) -> None:
        self._descriptor = descriptor
        self._seen = seen

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._seen:
            data, self._seen = self._seen[: len(view)], self._seen[len(view) :]
            view[: len(data)] = data
            return len(data)
        return os.readv(self._descriptor, [view])


class Input(ForwardStream):
    """An archive; it offers what `tarfile` needs of a file, and moves contents itself."""

    def __init__(self, descriptor: int, limit: int | None = None) -> None:
        """Read the first bytes, and prepare for what they say.

        More than `limit` bytes, uncompressed, or too many members are refused where it is given.
        """
        self._descriptor = descriptor
        self._limit = limit
        #: What was read, of which what is from `_at` to `_end` was not taken.
        self._view = memoryview(bytearray(_BUFFER))
        self._at = self._end = 0
        while self._end < _LONGEST_MAGIC:
            size = os.readv(descriptor, [self._view[self._end :]])
            if not size:
                break
            self._end += size
        seen = bytes(self._view[: self._end])
        self._stream = _decompressed(_Raw(descriptor, seen), seen)

    def members(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        """Give the members; the content of each is to be taken before the next is asked for.

        Then all that follows the archive's end is read. Raises `Refused` and errors of damage.
        """
        try:
            archive = tarfile.TarFile(
                fileobj=cast(IO[bytes], self),
                tarinfo=StrictInfo,
                encoding="utf-8",
                errors="surrogateescape",
            )
        except tarfile.ReadError as error:
            if self.position:
                raise Damaged("unexpected EOF") from error
            return  # It is empty.
        count = 0
        while (member := archive.next()) is not None:
            # tarfile remembers every member, for going back: here there is no going back.
            archive.members = []  # type: ignore[attr-defined]
            count += 1
            if self._limit is not None and count > MEMBERS:
                raise Refused(f"the archive has more than {MEMBERS} members")
            yield archive, member
        self.drain()

    def copy(self, archive: tarfile.TarFile, member: tarfile.TarInfo, handle: int) -> None:
        """Write the content of `member` to a new file, with its holes.

        Raises `Damaged` where the archive ends within it.
        """
        pieces: list[tuple[int, int]] | None = getattr(member, "sparse", None)
        if pieces is None:
            self.seek(member.offset_data)
            self._move(handle, member.size)
            return
        content = archive.extractfile(member)
        assert content is not None
        for offset, size in pieces:
            content.seek(offset)
            os.lseek(handle, offset, os.SEEK_SET)
            while size and (data := content.read(min(CHUNK, size))):
                size -= len(data)
                _write(handle, data)
            if size:
                raise Damaged("unexpected EOF")
        os.ftruncate(handle, member.size)

    def _move(self, handle: int, size: int) -> None:
        """Write the next `size` bytes to a file; what is not compressed is not copied for it."""
        while size and self._stream is None:
            if self._at == self._end:
                self._fill()
            moved = os.write(handle, self._view[self._at : min(self._at + size, self._end)])
            if not moved:
                raise Damaged("unexpected EOF")
            self._at += moved
            self._count(moved)
            size -= moved
        while size:
            data = self.read_some(min(CHUNK, size))
            if not data:
                raise Damaged("unexpected EOF")
            size -= len(data)
            _write(handle, data)

    def _fill(self) -> None:
        self._at, self._end = 0, os.readv(self._descriptor, [self._view])

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        parts = []
        while size > 0 and (data := self.read_some(min(CHUNK, size))):
            parts.append(data)
            size -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_some(self, size: int) -> bytes:
        """Return up to `size` of the next bytes, none only at the end."""
        if self._stream is not None:
            data = self._stream.read(size)
        else:
            if self._at == self._end:
                self._fill()
            data = bytes(self._view[self._at : min(self._at + size, self._end)])
            self._at += len(data)
        self._count(len(data))
        return data

    def _count(self, taken: int) -> None:
        self.position += taken
        if self._limit is not None and self.position > self._limit:
            size = f"{self._limit} bytes"
            raise Refused(f"the archive is larger than what there is room for ({size})")


def _decompressed(raw: _Raw, start: bytes) -> IO[bytes] | None:
    """Return a stream of what is compressed; None for what is not.

    What was compressed with zstd comes decompressed: that takes more than Python has.
    """
    if start.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=io.BufferedReader(raw, 1 << 16), mode="rb"))
    if start.startswith(_BZIP2):
        return bz2.BZ2File(cast(IO[bytes], raw))
    if start.startswith(_XZ):
        return lzma.LZMAFile(cast(IO[bytes], raw))
    return None


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
