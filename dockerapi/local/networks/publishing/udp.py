"""A proxy of UDP: datagrams to a port of the host go to a container, its answers back.

Rule: each client has a socket of its own towards the container, for a while; the number of them is
bounded, and no datagram is kept.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

#: Seconds without a datagram after which a client is forgotten; dockerd's own number.
IDLE = 90.0
#: The most clients at a time; the one that was silent longest makes room.
_CLIENTS = 1024
_LARGEST = 65536

Address = tuple[Any, ...]


class _Session(DatagramProtocol):
    """What one client says to the container, and hears from it."""

    transport: Any
    noisy = False

    def __init__(self, proxy: UdpProxy, client: Address, reactor: Any, target: Address) -> None:
        self._proxy = proxy
        self._client = client
        self._target = target
        self._port = reactor.listenUDP(0, self, maxPacketSize=_LARGEST)
        self._timer: IDelayedCall = reactor.callLater(IDLE, proxy.forget, client)

    def startProtocol(self) -> None:
        """Take datagrams from the container only."""
        self.transport.connect(*self._target)

    def send(self, datagram: bytes) -> None:
        """Pass on what the client sent."""
        self._timer.reset(IDLE)
        try:
            self.transport.write(datagram)
        except (OSError, MessageLengthError):
            # As on any network, what cannot be delivered is lost.
            return

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """Pass on what the container answered."""
        self._timer.reset(IDLE)
        self._proxy.answer(datagram, self._client)

    def connectionRefused(self) -> None:
        """Do nothing: the container does not listen, and may do so later."""

    def close(self) -> None:
        """End it."""
        if self._timer.active():
            self._timer.cancel()
        self._port.stopListening()


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
            except CannotListenError as error:
                self.log.warn("a datagram is lost: {error}", error=error)
                return
        self._sessions[addr] = session
        session.send(datagram)

    def answer(self, datagram: bytes, client: Address) -> None:
        """Send a datagram to a client."""
        try:
            self.transport.write(datagram, client)
        except (OSError, MessageLengthError):
            # The client has gone, or is out of reach.
            return

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
