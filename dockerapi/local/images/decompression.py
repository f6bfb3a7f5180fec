"""Compressed archives, told by their first bytes and read as one stream.

Rule: used in the child that unpacks, never in the server; nothing is held whole in memory.
"""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import shutil
import subprocess
import sys
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer


class Unsupported(Exception):
    """A compression that this host cannot undo; the text says what to install."""


_GZIP = b"\x1f\x8b\x08"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"
_ZSTD = b"\x28\xb5\x2f\xfd"


def decompressed(file: io.FileIO) -> IO[bytes]:
    """Return a stream of the uncompressed content of the whole `file`.

    Knows gzip, bzip2, xz, zstd and what is not compressed. Raises `Unsupported` for zstd where
    neither Python's own module, `zstandard` nor the program `zstd` is there.
    """
    start = os.pread(file.fileno(), 6, 0)
    if start.startswith(_GZIP):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
    if start.startswith(_BZIP2):
        return bz2.BZ2File(file)
    if start.startswith(_XZ):
        return lzma.LZMAFile(file)
    if start.startswith(_ZSTD) or _is_skippable_zstd(start):
        return _zstd(file)
    return io.BufferedReader(file, 1 << 16)


def _is_skippable_zstd(start: bytes) -> bool:
    """Tell whether `start` begins a skippable frame (RFC 8878, 3.1.2), as zstd:chunked has."""
    return len(start) > 4 and start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50


def _zstd(file: io.FileIO) -> IO[bytes]:
    """Take the best there is: Python's own module (3.14), the package, the program."""
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdFile

        return cast(IO[bytes], ZstdFile(file))
    if importlib.util.find_spec("zstandard") is not None:
        from zstandard import ZstdDecompressor

        reader = ZstdDecompressor().stream_reader(file, read_across_frames=True)
        return cast(IO[bytes], io.BufferedReader(reader, 1 << 16))
    program = shutil.which("zstd")
    if program is None:
        raise Unsupported("the layer is compressed with zstd: install the program zstd")
    child = subprocess.Popen([program, "-dcq"], stdin=file, stdout=subprocess.PIPE)
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
