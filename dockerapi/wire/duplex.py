"""The one stream type: reading, awaited writing, half-close and abort.

Rule: a stream never holds more than a bounded amount; `write` returns only when there is room for
more, and `read` takes only what its caller is ready for.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

#: How much one read takes at most unless its caller says otherwise, in bytes.
CHUNK = 65536


class StreamAborted(Exception):
    """The stream ended before its time: the other side left, or one side gave up.

    The reason is in `args[0]`, in words for a log.
    """


@runtime_checkable
class Source(Protocol):
    """The readable half of a stream."""

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return the next 1 to `limit` bytes, or `b""` at the end (and ever after).

        Raises `StreamAborted` when the stream broke off before its end. Only one read at a time.
        """
        ...

    def abort(self, reason: str) -> None:
        """Give the stream up: nothing more is wanted. Harmless when it has ended."""
        ...


@runtime_checkable
class Sink(Protocol):
    """The writable half of a stream."""

    async def write(self, data: bytes) -> None:
        """Send `data` whole and in order; return when there is room for more.

        Raises `StreamAborted` when the other side is gone. Only one write at a time.
        """
        ...

    async def close_write(self) -> None:
        """Say that no more is written (a half-close); what was written still arrives."""
        ...

    def abort(self, reason: str) -> None:
        """Break off: what is unsent is dropped. Harmless when the stream has ended."""
        ...


@runtime_checkable
class Duplex(Source, Sink, Protocol):
    """A stream with both halves, each closed on its own."""
