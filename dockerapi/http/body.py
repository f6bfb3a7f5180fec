"""A bounded buffer between a connection and the one who reads from it.

Rule: when it is full its connection is paused; reading makes room and resumes it.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred

from dockerapi.wire.duplex import CHUNK, StreamAborted


class Feeder(Protocol):
    """Who fills an inbox."""

    def inbox_full(self) -> None:
        """Stop reading from the client."""
        ...

    def inbox_wanted(self) -> None:
        """Read on: the reader waits, or there is room."""
        ...

    def inbox_dropped(self, reason: str) -> None:
        """Nothing more is wanted: the reader gave up."""
        ...


class Inbox:
    """A `Source` that its feeder fills."""

    __slots__ = ("_ended", "_failure", "_feeder", "_limit", "_parts", "_size", "_waiter")

    def __init__(self, feeder: Feeder, limit: int) -> None:
        self._feeder = feeder
        self._limit = limit
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._failure: str | None = None
        self._waiter: Deferred[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether a reader waits for more."""
        return self._waiter is not None

    @property
    def full(self) -> bool:
        """Whether no more should be pushed."""
        return self._size >= self._limit

    def push(self, data: bytes, last: bool = False) -> None:
        """Add what came; `last` says that nothing follows."""
        if self._failure is not None or self._ended:
            return
        if data:
            self._parts.append(data)
            self._size += len(data)
        self._ended = last
        if data or last:
            # A reader that waits may make room at once.
            self._wake()
        if self.full and not self._ended and self._failure is None:
            self._feeder.inbox_full()

    def end(self) -> None:
        """Say that nothing follows."""
        self.push(b"", last=True)

    def fail(self, reason: str) -> None:
        """Say that the stream broke off; what waits is dropped. Harmless after its end."""
        if self._failure is None and not self._ended:
            self._failure = reason
            self._parts.clear()
            self._size = 0
            self._wake()

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return the next 1 to `limit` bytes, `b""` at the end; raises `StreamAborted`."""
        if self._waiter is not None:
            raise RuntimeError("only one read at a time")
        while not self._parts:
            if self._failure is not None:
                raise StreamAborted(self._failure)
            if self._ended:
                return b""
            waiter: Deferred[None] = Deferred(self._cancelled)
            self._waiter = waiter
            self._feeder.inbox_wanted()
            await waiter
        return self._take(limit)

    def abort(self, reason: str) -> None:
        """Give the rest up."""
        if self._failure is None and not self._ended:
            self.fail(reason)
            self._feeder.inbox_dropped(reason)

    def _take(self, limit: int) -> bytes:
        data = self._parts.popleft()
        if len(data) > limit:
            self._parts.appendleft(data[limit:])
            data = data[:limit]
        was_full = self.full
        self._size -= len(data)
        if was_full and not self.full and not self._ended:
            self._feeder.inbox_wanted()
        return data

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    def _cancelled(self, waiter: Deferred[None]) -> None:
        self._waiter = None


class EmptyBody:
    """The body of a request that has none."""

    __slots__ = ()

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return `b""`."""
        return b""

    def abort(self, reason: str) -> None:
        """Do nothing: it has ended."""


EMPTY = EmptyBody()
