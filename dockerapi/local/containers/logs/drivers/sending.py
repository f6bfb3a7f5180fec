"""Connections to receivers of logs: datagrams and streams, with backpressure.

Rule: nothing is kept here; what a receiver does not take, waits in the spool.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPullProducer,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

from dockerapi.local.containers.logs.drivers.message import Undelivered
from dockerapi.local.host.threads import finished, in_thread

#: Between two tries of a datagram for which there is no room, in seconds.
_NO_ROOM = 0.02
#: How long a receiver may take to answer, in seconds.
PATIENCE = 30.0


class Datagrams:
    """Sends datagrams to a host and port, or to a unix socket by its path."""

    def __init__(self, address: tuple[str, int] | str, clock: IReactorTime) -> None:
        self._address = address
        self._clock = clock
        self._socket: socket.socket | None = None

    async def send(self, datagrams: Iterable[bytes]) -> None:
        """Send `datagrams` in order; raises `Undelivered`."""
        try:
            target = self._socket
            if target is None:
                target = await finished(in_thread(self._connect))
            for datagram in datagrams:
                await self._send(target, datagram)
        except OSError as error:
            raise Undelivered(f"{self._address}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        # Kept by the thread, so that `close` finds it though nobody waits any more.
        self._socket = _connected(self._address)
        return self._socket

    async def _send(self, target: socket.socket, datagram: bytes) -> None:
        while True:
            try:
                target.send(datagram)
            except BlockingIOError:
                await deferLater(self._clock, _NO_ROOM)
            except ConnectionRefusedError:
                # Word of an earlier datagram: over UDP nobody knows whether one arrives.
                if isinstance(self._address, str):
                    raise
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    raise
                return
            else:
                return


def _connected(address: tuple[str, int] | str) -> socket.socket:
    """Return a socket of datagrams to `address`; blocks for the name's lookup."""
    family: int = socket.AF_UNIX
    target: Any = address
    if not isinstance(address, str):
        family, _, _, _, target = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    connected = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        connected.setblocking(False)
        connected.connect(target)
    except BaseException:
        connected.close()
        raise
    return connected


class Stream:
    """Sends bytes to an endpoint, and reads what it answers."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, clock: IReactorTime, *, secure: bool = False
    ) -> None:
        """Nothing is sent to a `secure` endpoint, one of TLS, before it is known whose it is."""
        self._endpoint = endpoint
        self._secure = secure
        self._clock = clock
        self._connection: _Connection | None = None

    async def send(self, data: bytes) -> None:
        """Send `data`, connecting first where need be; raises `Undelivered`."""
        connection = self._connection
        if connection is None or connection.lost:
            try:
                factory = Factory.forProtocol(_Connection)
                connection = cast(_Connection, await self._endpoint.connect(factory))
            except CancelledError:
                raise
            except Exception as error:
                raise Undelivered(str(error)) from error
            self._connection = connection
        if self._secure:
            await connection.known(self._clock)
        await connection.write(data)

    async def answer(self) -> bytes:
        """Return the next bytes that the receiver answers; raises `Undelivered`."""
        if self._connection is None:
            raise Undelivered("not connected")
        return await self._connection.read(self._clock)

    def close(self) -> None:
        """Close the connection; what was sent still arrives."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end(self._clock)


@implementer(IPullProducer, IHandshakeListener)
class _Connection(Protocol):
    """One connection; see `Stream`."""

    transport: Any

    def __init__(self) -> None:
        self.lost = ""
        self._data = b""
        self._sent: Deferred[None] | None = None
        self._known = False
        self._handshake: Deferred[None] | None = None
        self._answer: Deferred[None] | None = None
        self._answered = b""
        self._abort: IDelayedCall | None = None

    async def known(self, clock: IReactorTime) -> None:
        """Return once TLS has told who the receiver is; raises `Undelivered`."""
        if not self._known and not self.lost:
            self._handshake = Deferred()
            self._handshake.addTimeout(PATIENCE, clock, onTimeoutCancel=lambda _, __: None)
            await self._handshake
        if not self._known:
            self.end(clock)
            raise Undelivered(self.lost or "the receiver does not speak TLS")

    def handshakeCompleted(self) -> None:
        """TLS is there."""
        self._known = True
        self._wake_handshake()

    async def write(self, data: bytes) -> None:
        """Write `data` and return when the kernel has it.

        Raises `Undelivered` where the connection is lost.
        """
        if data and not self.lost:
            self._data, self._sent = data, Deferred()
            self.transport.registerProducer(self, False)
            await self._sent
        if self.lost:
            raise Undelivered(self.lost)

    def end(self, clock: IReactorTime) -> None:
        """Close the connection, by force where the receiver takes nothing."""
        if not self.lost and self._abort is None:
            self._abort = clock.callLater(PATIENCE, self.transport.abortConnection)
            self.transport.loseConnection()

    async def read(self, clock: IReactorTime) -> bytes:
        """Return what was answered, waiting for it where it has not come.

        Raises `Undelivered` where no answer comes.
        """
        if not self._answered and not self.lost:
            self._answer = Deferred()
            self._answer.addTimeout(PATIENCE, clock, onTimeoutCancel=lambda _, __: None)
            await self._answer
        answered, self._answered = self._answered, b""
        if not answered:
            raise Undelivered(self.lost or "no answer")
        return answered

    def dataReceived(self, data: bytes) -> None:
        # Receivers that answer at all answer some dozen bytes to each request.
        self._answered = (self._answered + data)[-65536:]
        self._wake_reader()

    def resumeProducing(self) -> None:
        """Give the transport what there is; the second time it has been sent."""
        if self._data:
            data, self._data = self._data, b""
            self.transport.write(data)
        else:
            self.transport.unregisterProducer()
            self._wake_writer()

    def stopProducing(self) -> None:
        """Nothing: `connectionLost` says it."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = reason.getErrorMessage() if reason is not None else "closed"
        if self._abort is not None and self._abort.active():
            self._abort.cancel()
        self._wake_handshake()
        self._wake_writer()
        self._wake_reader()

    def _wake_handshake(self) -> None:
        handshake, self._handshake = self._handshake, None
        if handshake is not None and not handshake.called:
            handshake.callback(None)

    def _wake_writer(self) -> None:
        sent, self._sent = self._sent, None
        if sent is not None and not sent.called:
            sent.callback(None)

    def _wake_reader(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.called:
            answer.callback(None)
