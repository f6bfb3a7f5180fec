"""Compressed archives, told by their first bytes and read as one stream.

Rule: used in the child that unpacks, never in the server; nothing is held whole in memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
from typing import IO, TYPE_CHECKING, cast

from dockerapi.local.archive.zstd import decompressor, is_zstd

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer


_GZIP = b"\x1f\x8b\x08"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"


def decompressed(file: io.FileIO) -> IO[bytes]:
    """Return a stream of the uncompressed content of the whole `file`.

    Knows gzip, bzip2, xz, zstd and what is not compressed. Raises `Unsupported` for zstd where
    nothing is there that undoes it.
    """
    start = os.pread(file.fileno(), 6, 0)
    if start.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
    if start.startswith(_BZIP2):
        return bz2.BZ2File(file)
    if start.startswith(_XZ):
        return lzma.LZMAFile(file)
    if is_zstd(start):
        return _zstd(file)
    return io.BufferedReader(file, 1 << 16)


def _zstd(file: io.FileIO) -> IO[bytes]:
    child = subprocess.Popen(decompressor(), stdin=file, stdout=subprocess.PIPE)
    assert child.stdout is not None
    return cast(IO[bytes], io.BufferedReader(_Piped(child), 1 << 16))


class _Piped(io.RawIOBase):
    """The output of a child, whose failure is an error at the end."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        assert self._child.stdout is not None
        size = self._child.stdout.readinto(buffer)  # type: ignore[attr-defined]
        if not size and self._child.wait():
            raise OSError("the zstd stream is corrupt or truncated")
        return int(size)
