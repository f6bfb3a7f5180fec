"""A proxy of UDP: datagrams to a port of the host go to a container, its answers back.

Rule: each client has a socket of its own towards the container, for a while; the number of them is
bounded, and no datagram is kept.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: Seconds without a datagram after which a client is forgotten; dockerd's own number.
IDLE = 90.0
#: The most clients at a time; the one that was silent longest makes room.
_CLIENTS = 1024
_LARGEST = 65536
#: How many datagrams of one container are read before others have their turn.
_AT_ONCE = 16

Address = tuple[Any, ...]


@implementer(IReadDescriptor)
class _Session:
    """What one client says to the container, and hears from it: a connected socket."""

    def __init__(self, proxy: UdpProxy, client: Address, reactor: Any, target: Address) -> None:
        """Begin; raises OSError."""
        self._proxy = proxy
        self._client = client
        self._reactor = reactor
        self._socket = socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
        try:
            self._socket.connect(target)
        except OSError:
            self._socket.close()
            raise
        self._timer: IDelayedCall = reactor.callLater(IDLE, proxy.forget, client)
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor that the reactor waits for."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Return the name for the reactor's log."""
        return "UdpProxy"

    def send(self, datagram: bytes) -> None:
        """Pass on what the client sent; as on any network, what cannot be delivered is lost."""
        self._timer.reset(IDLE)
        with suppress(OSError):
            self._socket.send(datagram)

    def doRead(self) -> None:
        """Pass on what the container answered."""
        self._timer.reset(IDLE)
        for _ in range(_AT_ONCE):
            try:
                datagram = self._socket.recv(_LARGEST)
            except OSError:
                # Nothing is there, or the container cannot be reached now, and may be later.
                return
            self._proxy.answer(datagram, self._client)

    def connectionLost(self, reason: Failure) -> None:
        """End, as the reactor gave the socket up."""
        self._proxy.forget(self._client)

    def close(self) -> None:
        """End it."""
        if self._timer.active():
            self._timer.cancel()
        self._reactor.removeReader(self)
        self._socket.close()


class UdpProxy(DatagramProtocol):
    """Passes on what comes to a bound socket."""

    log = Logger()
    transport: Any
    noisy = False

    def __init__(self, reactor: Any, bound: socket.socket, host: str, port: int) -> None:
        """Begin; `host` and `port` are the container's. The socket stays the caller's."""
        self._reactor = reactor
        self._target = (host, port)
        #: By client's address, the one that was silent longest first.
        self._sessions: dict[Address, _Session] = {}
        self._port = reactor.adoptDatagramPort(bound.fileno(), bound.family, self, _LARGEST)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Pass on what a client sent."""
        session = self._sessions.pop(addr, None)
        if session is None:
            if len(self._sessions) >= _CLIENTS:
                self.forget(next(iter(self._sessions)))
            try:
                session = _Session(self, addr, self._reactor, self._target)
            except OSError as error:
                self.log.warn("a datagram is lost: {error}", error=error)
                return
        self._sessions[addr] = session
        session.send(datagram)

    def answer(self, datagram: bytes, client: Address) -> None:
        """Send a datagram to a client."""
        # The client may have gone, or be out of reach.
        with suppress(OSError, MessageLengthError):
            self.transport.write(datagram, client)

    def forget(self, client: Address) -> None:
        """End a client's session."""
        session = self._sessions.pop(client, None)
        if session is not None:
            session.close()

    def close(self) -> None:
        """Take no more, and end what there is."""
        for client in tuple(self._sessions):
            self.forget(client)
        self._port.stopListening()
