"""Makes a channel for each connection, and looks after all of them.

Rule: one timer for all connections, and none while there are none.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory

from dockerapi.http.channel import HTTPChannel
from dockerapi.http.counter import ConnectionCounter
from dockerapi.http.limits import Limits
from dockerapi.http.request import Request

_DEFAULTS = Limits()
#: How often connections are looked at, in seconds.
SWEEP = 1.0


class HTTPFactory(Factory):
    """Serves HTTP/1.1: each request is passed to `dispatch` when its head is complete."""

    noisy = False
    request: Callable[..., Request] = Request

    def __init__(
        self,
        dispatch: Callable[[Request], None],
        *,
        listener: str,
        limits: Limits = _DEFAULTS,
        clock: IReactorTime | None = None,
        connections: ConnectionCounter | None = None,
    ) -> None:
        """Serve with `dispatch`.

        `listener` is the host string for `Peer.listener`; `connections` may be shared by several
        factories, so that the limits hold for all of them together.
        """
        if clock is None:
            from twisted.internet import reactor

            clock = cast(IReactorTime, reactor)
        self.clock: Any = clock
        self._channels: set[HTTPChannel] = set()
        self._sweep: IDelayedCall | None = None
        self._when_empty: list[Deferred[None]] = []
        self.dispatch = dispatch
        self.listener = listener
        self.limits = limits
        self.connections = connections or ConnectionCounter(limits)
        #: Whether the port has closed: answers in progress are finished, nothing new is begun.
        self.stopping = False

    def buildProtocol(self, addr: IAddress | None) -> HTTPChannel | None:
        """Return a channel, or None (the connection is closed) when there are too many."""
        if self.connections.full:
            return None
        channel = HTTPChannel(self)
        channel.factory = self
        return channel

    def startFactory(self) -> None:
        """Begin (called by Twisted when a port opens)."""
        self.stopping = False

    def stopFactory(self) -> None:
        """Close idle connections, and the others after their answers (called when the port has)."""
        self.stopping = True
        for channel in tuple(self._channels):
            channel.close_if_idle()

    def opened(self, channel: HTTPChannel) -> None:
        """Look after `channel` (called by it)."""
        self._channels.add(channel)
        if self._sweep is None:
            self._sweep = self.clock.callLater(SWEEP, self._look)

    def closed(self, channel: HTTPChannel) -> None:
        """Forget `channel` (called by it)."""
        self._channels.discard(channel)
        if not self._channels and self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._check_empty()

    def end(self, reason: str) -> Deferred[None]:
        """End every connection, each once what it has to send is sent (the server's shutdown).

        The Deferred fires when they have all ended; cancelling it cuts off those that have not.
        """
        ended: Deferred[None] = Deferred(lambda _: self._cut_off(reason))
        self._when_empty.append(ended)
        for channel in tuple(self._channels):
            channel.end(reason)
        self._check_empty()
        return ended

    def _cut_off(self, reason: str) -> None:
        for channel in tuple(self._channels):
            channel.abort(reason)

    def _check_empty(self) -> None:
        if not self._channels:
            waiting, self._when_empty = self._when_empty, []
            for ended in waiting:
                if not ended.called:
                    ended.callback(None)

    def _look(self) -> None:
        """Let each connection's time pass; find clients that left unnoticed."""
        self._sweep = self.clock.callLater(SWEEP, self._look)
        poller, blind = select.poll(), {}
        for channel in tuple(self._channels):
            channel.tick(SWEEP)
            if channel.blind:
                number = channel.fileno()
                if number >= 0:
                    blind[number] = channel
                    poller.register(number, 0)
        if blind:
            for number, _events in poller.poll(0):
                blind[number].abort("the client has left")
