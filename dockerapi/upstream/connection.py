"""One connection to the upstream: bytes out with backpressure, bytes in for the exchange it serves.

Rule: a connection serves one exchange at a time and goes back to its pool only when both messages
were complete and nothing followed; in any other case it is closed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any
from typing import Protocol as Interface

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

#: How much one system call reads or writes, and how much may wait to be written, in bytes.
READ = 256 * 1024


class Served(Interface):
    """The exchange that a connection serves."""

    def received(self, data: bytes) -> None:
        """Take the upstream's next bytes."""
        ...

    def input_ended(self) -> None:
        """Take the end of the upstream's side."""
        ...

    def connection_lost(self, reason: str) -> None:
        """Take the connection's end."""
        ...


@implementer(IHalfCloseableProtocol, IPushProducer)
class Connection(Protocol):
    """A connection that is idle, or serves one exchange.

    :ivar clock: where its exchanges take their time from.
    :ivar exchange: the one that is served.
    :ivar lost: why the connection has ended; None while it lives.
    :ivar reused: whether it has served an exchange before.
    :ivar idle_since: when it was given back to its pool, in the pool's time.
    """

    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        on_idle: Callable[[Connection], None],
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.clock = clock
        self.exchange: Served | None = None
        self.lost: str | None = None
        self.reused = False
        self.idle_since = 0.0
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._paused = False
        self._waiting: Deferred[None] | None = None
        self._read_ended = False

    def connectionMade(self) -> None:
        """Take over the transport, with large reads and writes."""
        raw = _beneath_tls(self.transport)
        raw.bufferSize = raw.SEND_LIMIT = READ
        if raw.addressFamily != socket.AF_UNIX:
            raw.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    @property
    def stale(self) -> bool:
        """Whether the other side has closed, or said something unasked, while nobody looked."""
        if self.lost is not None or self._read_ended:
            return True
        handle = self.transport.getHandle()
        if not isinstance(handle, socket.socket):
            return False
        try:
            handle.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def write(self, data: bytes) -> None:
        """Send `data`; nothing happens when the connection is lost."""
        if self.lost is None:
            self.transport.write(data)

    def write_all(self, parts: Iterable[bytes]) -> None:
        """Send `parts`, one after another; nothing happens when the connection is lost."""
        if self.lost is None:
            self.transport.writeSequence(parts)

    async def room(self) -> bool:
        """Wait until there is room for more; return whether the connection still lives.

        Only one waits at a time.
        """
        if self._paused and self.lost is None:
            self._waiting = Deferred()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self.lost is None

    def close_write(self) -> None:
        """Half-close: what was written still goes out."""
        if self.lost is None:
            self.transport.loseWriteConnection()

    def close(self) -> None:
        """Send what waits, then close."""
        if self.lost is None:
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        if self.lost is None:
            self.transport.abortConnection()

    def release(self, *, clean: bool) -> None:
        """Let go of the exchange: back to the pool when `clean`, else closed."""
        self.exchange = None
        self.reused = True
        if clean and self.lost is None and not self._read_ended:
            self._on_idle(self)
        else:
            self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Pass `data` to the exchange; a connection that speaks while it is idle is closed."""
        if self.exchange is not None:
            self.exchange.received(data)
        else:
            self.abort()

    def readConnectionLost(self) -> None:
        """Learn that the upstream says no more; it may still listen."""
        self._read_ended = True
        if self.exchange is not None:
            self.exchange.input_ended()
        else:
            self.abort()

    def writeConnectionLost(self) -> None:
        """Learn that our half-close went out."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Learn that the connection has ended in both directions."""
        self.lost = reason.getErrorMessage()
        self._go_on()
        if self.exchange is not None:
            self.exchange.connection_lost(self.lost)
        self._on_lost(self)

    def pauseProducing(self) -> None:
        """Learn that the transport has enough to write."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Learn that the transport has room again."""
        self._go_on()

    def stopProducing(self) -> None:
        """Learn that nothing can be written any more; `connectionLost` follows."""

    def pause_reading(self) -> None:
        """Leave what the upstream sends in the kernel's buffers."""
        if self.lost is None:
            self.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read on, after `pause_reading`."""
        if self.lost is None and not self._read_ended:
            self.transport.resumeProducing()

    def _go_on(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


def _beneath_tls(transport: Any) -> Any:
    """Return the transport of the socket itself."""
    while isinstance(transport, TLSMemoryBIOProtocol):
        transport = transport.transport
    return transport
