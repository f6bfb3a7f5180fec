"""The body of a registry's answer as a stream with backpressure.

Rule: a bounded amount waits for its reader, and a registry that falls silent is broken off.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from dockerapi.wire.duplex import CHUNK, StreamAborted

#: How much waits for its reader before the registry is made to wait, in bytes.
_HIGH = 1 << 20


class ResponseBody(Protocol):
    """Reads the body of `response`; nobody else may.

    A silence of `patience` seconds breaks it off.
    """

    def __init__(self, response: IResponse, clock: IReactorTime, patience: float = 60.0) -> None:
        self._clock = clock
        self._patience = patience
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._end: str | None = None
        self._waiting: Deferred[None] | None = None
        response.deliverBody(self)

    def dataReceived(self, data: bytes) -> None:
        """Keep what came, and stop the flow where it is too much."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _HIGH and not self._paused:
            self._paused = True
            self._flow("pauseProducing")
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note how the body ended."""
        # Without a length the end of the connection is the end: digests tell whether it is whole.
        whole = reason.check(ResponseDone, PotentialDataLoss) is not None
        self._end = "" if whole else (self._end or reason.getErrorMessage() or "connection lost")
        self._wake()

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return the next bytes; see `Source.read`."""
        while not self._chunks:
            if self._end is not None:
                if self._end:
                    raise StreamAborted(self._end)
                return b""
            waiting = self._waiting = Deferred(lambda _: None)
            alarm = self._clock.callLater(self._patience, self._give_up)
            try:
                await waiting
            finally:
                self._waiting = None
                if alarm.active():
                    alarm.cancel()
        data = self._chunks.popleft()
        if len(data) > limit:
            self._chunks.appendleft(data[limit:])
            data = data[:limit]
        self._size -= len(data)
        if self._paused and self._size <= _HIGH // 2:
            self._paused = False
            self._flow("resumeProducing")
        return data

    def abort(self, reason: str) -> None:
        """Give the body up."""
        if self._end is None:
            self._end = reason
            if self.transport is not None:
                transport: Any = self.transport
                transport.loseConnection()
        self._wake()

    def _give_up(self) -> None:
        self.abort(f"nothing came for {self._patience:g} s")

    def _flow(self, method: str) -> None:
        if self._end is None and self.transport is not None:
            getattr(self.transport, method)()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)
