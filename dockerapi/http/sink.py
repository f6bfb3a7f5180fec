"""The body of a streamed answer.

Rule: the client can tell a whole body from one that broke off.
"""

from __future__ import annotations

from enum import Enum, auto

from dockerapi.http.connection import Answered, Connection
from dockerapi.http.framing import LAST_CHUNK, chunk
from dockerapi.wire.duplex import StreamAborted


class Framing(Enum):
    """How the end of a body is told."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


class AnswerSink:
    """A `Sink` for the body of `exchange`."""

    __slots__ = ("_channel", "_exchange", "_framing", "_keep", "_left")

    def __init__(
        self,
        channel: Connection,
        exchange: Answered,
        framing: Framing,
        length: int,
        keep: bool,
    ) -> None:
        self._channel = channel
        self._exchange = exchange
        self._framing = framing
        self._left = length
        self._keep = keep

    async def write(self, data: bytes) -> None:
        """Send `data`, framed; raises `StreamAborted` when the client is gone."""
        if self._exchange.gone:
            raise StreamAborted("the client has left")
        if self._exchange.done:
            raise StreamAborted("the answer has ended")
        self.put(data)
        if self._channel.out.congested:
            await self._channel.out.drained()

    def put(self, data: bytes) -> None:
        """Send `data` without waiting for room.

        Raises `ValueError` for more than was announced.
        """
        if not data or self._framing is Framing.NONE:
            return
        if self._framing is Framing.LENGTH:
            if len(data) > self._left:
                raise ValueError("more body than its Content-Length")
            self._left -= len(data)
        self._exchange.sent += len(data)
        self._channel.send(chunk(data) if self._framing is Framing.CHUNKED else data)

    async def close_write(self) -> None:
        """End the body. Harmless when it has ended."""
        self.end()

    def end(self) -> None:
        """End the body without waiting for room."""
        if self._exchange.done:
            return
        if self._framing is Framing.LENGTH and self._left:
            self.abort("the body is shorter than its Content-Length")
            return
        if self._framing is Framing.CHUNKED:
            self._channel.send(LAST_CHUNK)
        self._channel.finish(self._exchange, self._keep)

    def abort(self, reason: str) -> None:
        """Break the connection off, so that the client sees that the body is not whole.

        One whose client has left is ended by its channel, which first sends what was written.
        """
        if not self._exchange.done and not self._exchange.gone:
            self._channel.abort(reason)
