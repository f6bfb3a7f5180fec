"""What has arrived from the upstream and was not read yet: bounded, and awaited without a queue.

Rule: at most `HIGH` bytes and one read more are held; past that the transport is paused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from dockerapi.wire.duplex import StreamAborted

#: How many bytes may wait before the transport is paused, and how few let it go on.
HIGH = 256 * 1024
LOW = 64 * 1024


class Inbox:
    """Bytes on their way from a transport to the one who reads them.

    :ivar ended: whether everything has arrived.
    """

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self.ended = False
        self._pause = pause
        self._resume = resume
        self._paused = False
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._failure: str | None = None
        self._waiting: Deferred[None] | None = None

    def put(self, data: bytes) -> None:
        """Take what has arrived; dropped when the reader gave up."""
        if self._failure is not None or not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        self._wake()
        if self._size > HIGH and not self._paused and not self.ended:
            self._paused = True
            self._pause()

    def end(self) -> None:
        """Say that everything has arrived; what waits can still be read."""
        self.ended = True
        self._go_on()
        self._wake()

    def fail(self, reason: str) -> None:
        """Say that no more arrives though more should; a reader learns it after what waits."""
        if not self.ended and self._failure is None:
            self._failure = reason
            self._go_on()
            self._wake()

    def drop(self, reason: str) -> None:
        """Forget what waits, and fail every further read with `reason`."""
        self._chunks.clear()
        self._size = 0
        self.ended = False
        self.fail(reason)

    def take(self) -> bytes:
        """Return all that waits."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        return data

    async def read(self, limit: int) -> bytes:
        """Return the next 1 to `limit` bytes, `b""` at the end; raise `StreamAborted`."""
        while not self._chunks:
            if self._failure is not None:
                raise StreamAborted(self._failure)
            if self.ended:
                return b""
            self._waiting = Deferred()
            try:
                await self._waiting
            finally:
                self._waiting = None
        data = self._chunks.popleft()
        if len(data) > limit:
            self._chunks.appendleft(data[limit:])
            data = data[:limit]
        self._size -= len(data)
        if self._paused and self._size <= LOW:
            self._go_on()
        return data

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            self._resume()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)
