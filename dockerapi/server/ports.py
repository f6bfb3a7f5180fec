"""A port of Twisted's over a unix socket that listens already.

Rule: the socket is taken as it is: its mode, its queue and its file are not touched.
(Twisted's own adoption changes the mode, listens again with a queue of 50, and unlinks.)
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import cast

from twisted.internet import tcp, unix
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

_DONE = Failure(CONNECTION_DONE)


class UnixSocketPort(unix.Port):
    """Accepts on `listening`, a unix stream socket that listens already and is non-blocking.

    :param at_end: called once, at once, when the port is told to stop.
    """

    #: A shutdown would end the socket for init too, and for the next server that it starts.
    _shouldShutdown = False

    def __init__(
        self,
        listening: socket.socket,
        factory: IProtocolFactory,
        reactor: object,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(_name(listening), factory, reactor=reactor)
        self._listening = listening
        self._at_end = at_end

    def startListening(self) -> None:
        """Begin to accept."""
        tcp._reservedFD.reserve()
        cast(Factory, self.factory).doStart()
        self.socket = self._listening
        self.fileno = self._listening.fileno  # type: ignore[method-assign]
        self.connected = True
        self.numberAccepts = 100
        self.startReading()  # type: ignore[no-untyped-call]

    def stopListening(self, connDone: Failure = _DONE) -> Deferred[None] | None:
        """Stop accepting; the socket is closed in a later turn of the reactor."""
        at_end, self._at_end = self._at_end, None
        if at_end is not None:
            at_end()
        stopped: Deferred[None] | None = super().stopListening(connDone)  # type: ignore[no-untyped-call]
        return stopped

    def connectionLost(self, reason: Failure) -> None:
        """Close our descriptor of the socket."""
        tcp.Port.connectionLost(self, reason)


def _name(listening: socket.socket) -> bytes:
    """Return the socket's path, or its abstract name (which begins with a NUL)."""
    name = listening.getsockname()
    return name if isinstance(name, bytes) else str(name).encode("utf-8", "surrogateescape")
