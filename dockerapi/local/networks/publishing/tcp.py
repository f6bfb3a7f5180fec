"""A proxy of TCP: what comes to a port of the host goes to a container and back.

Rule: each side is read only as fast as the other takes it, so a connection holds a bounded amount;
an end of input is passed on, and the other direction goes on. The number of connections is bounded:
who comes then waits in the kernel's queue.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

#: Seconds that a container may take to accept a connection.
_CONNECT_TIMEOUT = 30
#: The most connections at a time to one port; each takes two descriptors of the server.
_CLIENTS = 1024


@implementer(IHalfCloseableProtocol)
class _End(Protocol):
    """One end of a connection that is passed on.

    :ivar peer: the other end, once there is one.
    """

    transport: Any
    peer: _End | None = None
    _ended = 0

    def join(self, peer: _End) -> None:
        """Make `peer` the other end of this one, in both directions."""
        self.peer, peer.peer = peer, self
        for one, other in ((self, peer), (peer, self)):
            one.transport.registerProducer(other.transport, True)
            one.transport.setTcpNoDelay(True)
            # An end whose host vanished would hold both descriptors for ever.
            one.transport.setTcpKeepAlive(True)

    def dataReceived(self, data: bytes) -> None:
        """Pass on what came."""
        if self.peer is not None:
            self.peer.transport.write(data)

    def readConnectionLost(self) -> None:
        """Pass on the end of input."""
        peer = self.peer
        if peer is not None:
            peer.transport.unregisterProducer()
            peer.transport.loseWriteConnection()
            for one in (self, peer):
                one._half_ended()

    def writeConnectionLost(self) -> None:
        """Do nothing: the end of output was asked for, or the connection is lost soon."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the other end too: at once after an error, else when all has been written."""
        peer, self.peer = self.peer, None
        if peer is None or peer.peer is None:
            return
        peer.peer = None
        peer.transport.unregisterProducer()
        if reason.check(type(connectionDone.value)) is None:
            peer.transport.abortConnection()
        else:
            peer.transport.loseConnection()

    def _half_ended(self) -> None:
        self._ended += 1
        if self._ended == 2:
            self.transport.loseConnection()


class _Inside(_End):
    """The end at the container."""

    def __init__(self, client: _Outside) -> None:
        self._client = client

    def connectionMade(self) -> None:
        """Begin to pass on, unless the client has left."""
        if self._client.left:
            self.transport.abortConnection()
        else:
            self.join(self._client)
            self._client.resume()


class _Dialling(ClientFactory):
    noisy = False

    def __init__(self, client: _Outside) -> None:
        self._client = client

    def buildProtocol(self, addr: object) -> _Inside:
        return _Inside(self._client)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._client.transport.abortConnection()


class _Outside(_End):
    """The end at the client.

    :ivar left: whether the client is gone.
    """

    def __init__(self, proxy: TcpProxy) -> None:
        self._proxy = proxy
        self.left = False

    def connectionMade(self) -> None:
        """Read nothing before the container has accepted."""
        self.transport.pauseProducing()
        self._proxy.begun(self)
        self._connector = self._proxy.dial(_Dialling(self))

    def resume(self) -> None:
        """Begin to read."""
        self.transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give up what is under way."""
        self.left = True
        self._proxy.ended(self)
        if self.peer is None:
            self._connector.disconnect()
        super().connectionLost(reason)


class TcpProxy(Factory):
    """Passes on what comes to a listening socket.

    :ivar clients: the connections that there are.
    """

    noisy = False

    def __init__(self, reactor: Any, listening: socket.socket, host: str, port: int) -> None:
        """Begin; `host` and `port` are the container's. The socket stays the caller's."""
        self.clients: set[_Outside] = set()
        self._closed = False
        self._reactor = reactor
        self._target = (host, port)
        self._port = reactor.adoptStreamPort(listening.fileno(), listening.family, self)

    def buildProtocol(self, addr: object) -> _Outside:
        """Return the protocol of a new connection."""
        return _Outside(self)

    def begun(self, client: _Outside) -> None:
        """Count a connection; at the bound accept no more."""
        self.clients.add(client)
        if len(self.clients) >= _CLIENTS:
            self._port.pauseProducing()

    def ended(self, client: _Outside) -> None:
        """Count no longer a connection that has ended, and accept again."""
        self.clients.discard(client)
        if len(self.clients) == _CLIENTS - 1 and not self._closed:
            self._port.resumeProducing()

    def dial(self, factory: ClientFactory) -> Any:
        """Connect to the container."""
        return self._reactor.connectTCP(*self._target, factory, timeout=_CONNECT_TIMEOUT)

    def close(self) -> None:
        """Accept no more, and end what there is."""
        self._closed = True
        self._port.stopListening()
        for client in tuple(self.clients):
            client.transport.abortConnection()
