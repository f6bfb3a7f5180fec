"""The connections to the upstream: kept ones are reused, new ones made whenever none is idle.

Rule: only idle connections are bounded. Streams without an end hold one each, so that a bound on
all of them would come to a standstill.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
    NoProtocol,
)
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol

from dockerapi.engine.errors import Unavailable
from dockerapi.upstream.connection import Connection

#: How many idle connections are kept.
MAX_IDLE = 64
#: How long a connection is kept idle, in seconds.
IDLE_TIMEOUT = 30.0


class Pool(Factory):
    """Connections to one endpoint.

    :ivar connections: all that are open.
    """

    noisy = False

    def __init__(self, name: str, endpoint: IStreamClientEndpoint, clock: IReactorTime) -> None:
        self.connections: set[Connection] = set()
        self._name = name
        self._endpoint = endpoint
        self._clock = clock
        self._idle: list[Connection] = []
        self._sweep: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    async def take(self, *, fresh: bool = False) -> Connection:
        """Return a connection for one exchange: the latest idle one unless `fresh`, or a new one.

        Raises `Unavailable` when the upstream cannot be reached.
        """
        while self._idle and not fresh:
            connection = self._idle.pop()
            if not connection.stale:
                return connection
            connection.abort()
        if self._closed is not None:
            raise Unavailable("the connections to the engine are closed")
        try:
            protocol = await self._endpoint.connect(self)
        except ConnectingCancelledError as error:
            raise CancelledError from error
        except (ConnectError, DNSLookupError, NoProtocol, OSError) as error:
            raise Unavailable(f"cannot connect to the engine at {self._name}: {error}") from error
        return cast(Connection, protocol)

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Make the protocol of a new connection; None (which closes it) when the pool is."""
        if self._closed is not None:
            return None
        connection = Connection(self._clock, self._keep, self._forget)
        self.connections.add(connection)
        return connection

    async def close(self) -> None:
        """Close every connection, and wait until they have ended; no new one is made."""
        self._closed = Deferred()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._idle.clear()
        for connection in tuple(self.connections):
            if connection.connected:
                connection.abort()
            else:
                self.connections.discard(connection)
        if self.connections:
            await self._closed

    def _keep(self, connection: Connection) -> None:
        if self._closed is not None or len(self._idle) >= MAX_IDLE:
            connection.abort()
            return
        connection.idle_since = self._clock.seconds()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = self._clock.callLater(IDLE_TIMEOUT, self._drop_old)

    def _drop_old(self) -> None:
        """Close what has been idle for too long; look again while anything is."""
        self._sweep = None
        limit = self._clock.seconds() - IDLE_TIMEOUT
        old = [connection for connection in self._idle if connection.idle_since <= limit]
        self._idle = [connection for connection in self._idle if connection.idle_since > limit]
        for connection in old:
            connection.abort()
        if self._idle:
            wait = self._idle[0].idle_since - limit
            self._sweep = self._clock.callLater(wait, self._drop_old)

    def _forget(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._closed is not None and not self.connections and not self._closed.called:
            self._closed.callback(None)
