"""A source and a sink in memory."""

from __future__ import annotations

import io

from dockerapi.wire.duplex import CHUNK


class Bytes:
    """A source of bytes that are there."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, limit: int = CHUNK) -> bytes:
        return self._file.read(limit)

    def abort(self, reason: str) -> None:
        """Do nothing."""


class Collected:
    """A sink that keeps what is written, and is not to be broken off."""

    def __init__(self) -> None:
        self.data = b""

    async def write(self, data: bytes) -> None:
        self.data += data

    async def close_write(self) -> None:
        """Do nothing."""

    def abort(self, reason: str) -> None:
        raise AssertionError(reason)
