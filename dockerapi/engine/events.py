"""The events bus: what happens to objects, told to everyone who listens.

Rule: publishing never waits; a listener that does not keep up loses its place, not our memory.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import Deferred

from dockerapi.engine.errors import Unavailable


@attrs.frozen
class Event:
    """Something that happened (the specification's `EventMessage`).

    :ivar type: kind of object: ``container``, ``image``, ``network``, ``volume``, ``daemon``, ...
    :ivar action: what happened, as in ``create`` or ``exec_start: sh``.
    :ivar actor: the object's id.
    :ivar attributes: its labels, name, image, exit code, ... all in text.
    :ivar time_ns: nanoseconds since 1970.
    """

    type: str
    action: str
    actor: str
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    time_ns: int = attrs.field(factory=time.time_ns)
    scope: str = "local"


Wanted = Callable[[Event], bool]


class Subscription:
    """One listener's place at the bus: a bounded queue of the events that it wants."""

    def __init__(self, bus: EventBus, wanted: Wanted, limit: int) -> None:
        self._bus = bus
        self._wanted = wanted
        self._limit = limit
        self._queue: deque[Event] = deque()
        self._waiting: Deferred[None] | None = None
        self._overrun = False
        self._closed = False

    def offer(self, event: Event) -> None:
        """Queue `event` when it is wanted; past the limit the subscription ends."""
        if self._overrun or self._closed or not self._wanted(event):
            return
        if len(self._queue) >= self._limit:
            self._overrun = True
            self._queue.clear()
        else:
            self._queue.append(event)
        self._wake()

    async def next(self) -> Event | None:
        """Return the next event, or None once the subscription or the bus is closed.

        Raises `Unavailable` when this listener fell too far behind.
        """
        while True:
            if self._overrun:
                raise Unavailable("this listener fell too far behind the events")
            if self._queue:
                return self._queue.popleft()
            if self._closed:
                return None
            self._waiting = Deferred(lambda _: None)
            try:
                await self._waiting
            finally:
                self._waiting = None

    def close(self) -> None:
        """Leave the bus; a waiting `next` returns None."""
        self._bus.leave(self)
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


class EventBus:
    """Publishes events to subscriptions and remembers the latest of them.

    :ivar recent: the last events (256, as dockerd), for `since`.
    """

    def __init__(self, remembered: int = 256) -> None:
        self.recent: deque[Event] = deque(maxlen=remembered)
        self._subscriptions: set[Subscription] = set()

    @property
    def listeners(self) -> int:
        """The number of subscriptions."""
        return len(self._subscriptions)

    def publish(self, event: Event) -> None:
        """Tell everyone of `event`; call it after the state that it tells of can be read."""
        self.recent.append(event)
        for subscription in tuple(self._subscriptions):
            subscription.offer(event)

    def subscribe(self, wanted: Wanted, limit: int = 4096) -> Subscription:
        """Return a place that queues up to `limit` events for which `wanted` is true."""
        subscription = Subscription(self, wanted, limit)
        self._subscriptions.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription (`Subscription.close` calls this)."""
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
