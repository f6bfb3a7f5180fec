"""TLS that keeps a half-closed connection open.

Rule: close_notify ends one direction (RFC 8446, section 6.1); the end of the TCP stream after it
ends both.
"""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

#: Twisted's class has no types; what it calls below is its own.
_TLS: Any = TLSMemoryBIOProtocol

#: What a client that speaks plain HTTP is told, in net/http's words.
_PLAIN_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


class HalfCloseTLS(_TLS):  # type: ignore[misc]
    """A TLS transport whose two directions end one by one.

    Twisted's own ends the whole connection when the peer's close_notify arrives.
    """

    disconnecting: bool
    _untouched = True
    _peer_ended = False
    _we_ended = False

    def _flushReceiveBIO(self) -> None:
        adapt: Any = IHalfCloseableProtocol
        protocol = adapt(self.wrappedProtocol, None)
        if protocol is None:
            super()._flushReceiveBIO()
            return
        while not self._lostTLSConnection and not self._peer_ended:
            try:
                data = self._tlsConnection.recv(2**15)
            except WantReadError:
                break
            except ZeroReturnError:
                self._peer_ended = True
                if self.disconnecting:
                    self._shutdownTLS()
                    self._tlsShutdownFinished(None)
                else:
                    protocol.readConnectionLost()
            except Error:
                self._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    ProtocolWrapper.dataReceived(self, data)
        self._flushSendBIO()

    def dataReceived(self, data: bytes) -> None:
        """Take records; after the peer's close_notify nothing is expected, and dropped."""
        if self._untouched:
            self._untouched = False
            if data[:1].isalpha():
                self.transport.write(_PLAIN_ANSWER)
                self._aborted = True
                self.transport.loseConnection()
        if not self._peer_ended and not self._aborted:
            super().dataReceived(data)

    def loseWriteConnection(self) -> None:
        """Send close_notify after what was written; go on receiving."""
        if self._we_ended or self.disconnecting or self._lostTLSConnection:
            return
        self._we_ended = True
        if not self._appSendBuffer:
            self._end_writing()

    def loseConnection(self) -> None:
        """Send close_notify, and end the connection once all has been sent."""
        if self._we_ended and not self.disconnecting:
            self.disconnecting = True
            self.transport.loseConnection()
        else:
            super().loseConnection()

    def write(self, data: bytes) -> None:
        """Send `data`; dropped after `loseWriteConnection`."""
        if not self._we_ended:
            super().write(data)

    def _unbufferPendingWrites(self) -> None:
        super()._unbufferPendingWrites()
        if self._we_ended and not self._appSendBuffer and not self.disconnecting:
            self._end_writing()

    def _end_writing(self) -> None:
        try:
            self._tlsConnection.shutdown()
        except Error:
            self._tlsShutdownFinished(Failure())
            return
        self._flushSendBIO()


class HalfCloseTLSFactory(TLSMemoryBIOFactory):
    """Wraps a server's protocol factory in TLS that keeps half-closed connections."""

    protocol = HalfCloseTLS

    def __init__(
        self,
        creator: Any,
        wrapped: IProtocolFactory,
        clock: IReactorTime | None = None,
    ) -> None:
        """Wrap `wrapped`; `creator` is an IOpenSSLServerConnectionCreator or CertificateOptions."""
        super().__init__(creator, False, wrapped, clock)


def wrap(creator: Any, factory: IProtocolFactory) -> HalfCloseTLSFactory:
    """Return `factory` behind TLS; see `HalfCloseTLSFactory`."""
    return HalfCloseTLSFactory(creator, factory)
