"""The sending side of one connection.

Rule: whoever writes waits while the client takes it too slowly; nothing else is buffered here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from dockerapi.http.sending import can_half_close, flush, sender
from dockerapi.wire.duplex import StreamAborted


@implementer(IPushProducer)
class Outgoing:
    """Sends on `transport`.

    :ivar send: sends bytes whole and in order, without waiting for room.
    :ivar congested: whether the client takes what we send too slowly.
    :ivar producer: who writes the answer in progress, when that is a producer of Twisted's.
    """

    __slots__ = (
        "_has_room",
        "_registered",
        "_transport",
        "_writer",
        "congested",
        "producer",
        "send",
    )

    def __init__(self, transport: Any, has_room: Callable[[], None]) -> None:
        """Send on `transport`; call `has_room` each time when congestion ends."""
        self._transport = transport
        self._has_room = has_room
        self._writer: Deferred[None] | None = None
        self.send = sender(transport)
        self.congested = False
        self.producer: IPushProducer | None = None
        transport.registerProducer(self, True)
        self._registered = True

    def pauseProducing(self) -> None:
        """The transport's buffer is full: writers wait (called by the transport)."""
        self.congested = True
        if self.producer is not None:
            self.producer.pauseProducing()

    def resumeProducing(self) -> None:
        """It has room again (called by the transport)."""
        self.congested = False
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.callback(None)
        if self.producer is not None:
            self.producer.resumeProducing()
        self._has_room()

    def stopProducing(self) -> None:
        """The transport is going away; the channel's `connectionLost` follows."""

    def drained(self) -> Deferred[None]:
        """Return what fires when there is room again; fails with `StreamAborted`."""
        if self._writer is not None:
            raise RuntimeError("only one write at a time")
        writer: Deferred[None] = Deferred(self._cancelled)
        self._writer = writer
        return writer

    def break_off(self, reason: str) -> None:
        """Tell whoever writes that it is in vain."""
        producer, self.producer = self.producer, None
        if producer is not None:
            producer.stopProducing()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.errback(StreamAborted(reason))

    def let_go(self) -> None:
        """Tell nobody of room any more: the connection is gone, and nothing holds its parts."""
        self._has_room = _nobody

    def send_alone(self, data: bytes) -> None:
        """Send `data` in a write of its own, before anything that follows."""
        self.send(data)
        flush(self._transport)

    @property
    def can_half_close(self) -> bool:
        """Whether our side can be ended alone."""
        return can_half_close(self._transport)

    def half_close(self) -> None:
        """End our side once all has been sent."""
        self._unregister()
        self._transport.loseWriteConnection()

    def close(self) -> None:
        """End the connection once all has been sent."""
        self._unregister()
        self._transport.loseConnection()

    def _unregister(self) -> None:
        # With a producer that is paused, a transport would never close.
        if self._registered:
            self._registered = self.congested = False
            self._transport.unregisterProducer()

    def _cancelled(self, writer: Deferred[None]) -> None:
        self._writer = None


def _nobody() -> None:
    """Take a call that concerns nobody."""
