"""The events bus: what happens to objects, told to everyone who listens, in one order.

Rule: publishing never waits; a listener that does not keep up loses its queue, not our memory.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import attrs
from twisted.internet.defer import Deferred


@attrs.frozen
class Event:
    """Something that happened (the specification's `EventMessage`).

    :ivar type: kind of object: ``container``, ``image``, ``network``, ``volume``, ``daemon``, ...
    :ivar action: what happened, as in ``create`` or ``exec_start: sh``.
    :ivar actor: the object's id.
    :ivar attributes: its labels, name, image, exit code, ... all in text.
    :ivar time_ns: nanoseconds since 1970.
    :ivar number: its place in the order of all events of this engine; the bus gives it.
    """

    type: str
    action: str
    actor: str
    attributes: Mapping[str, str] = attrs.field(factory=dict)
    time_ns: int = attrs.field(factory=time.time_ns)
    scope: str = "local"
    number: int = attrs.field(default=0, eq=False)


Wanted = Callable[[Event], bool]


class FellBehind(Exception):
    """A listener's queue was full, and is empty now; see `Subscription.rejoin`."""


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
        """Queue `event` when it is wanted; past the limit the queue is given up."""
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

        Raises `FellBehind` when events were lost.
        """
        while True:
            if self._overrun:
                raise FellBehind
            if self._queue:
                return self._queue.popleft()
            if self._closed:
                return None
            self._waiting = Deferred(lambda _: None)
            try:
                await self._waiting
            finally:
                self._waiting = None

    def rejoin(self) -> int:
        """Queue again what comes after the event whose number this returns."""
        self._overrun = False
        return self._bus.told

    def finish(self) -> None:
        """Close once all that has happened by now is told, and take nothing that comes later."""
        self._bus.finish(self)

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
    """Numbers events, tells them to subscriptions in that order, and remembers the latest.

    :ivar recent: the last events (256, as dockerd).
    :ivar told: the number of the last event that was told.
    :ivar record: called with each event that was published, before it is told.
    """

    def __init__(self, remembered: int = 256) -> None:
        self.recent: deque[Event] = deque(maxlen=remembered)
        self.told = 0
        self.record: Callable[[Event], None] = lambda _: None
        self._numbered = 0
        #: What is to be told, by number; None while it is not known whether it happens.
        self._outbox: dict[int, Event | None] = {}
        self._telling = False
        self._subscriptions: set[Subscription] = set()
        #: The number of the last event for those that finish.
        self._finishing: dict[Subscription, int] = {}

    @property
    def listeners(self) -> int:
        """The number of subscriptions."""
        return len(self._subscriptions)

    def continue_after(self, number: int) -> None:
        """Give higher numbers than `number`, the last one that an earlier server gave."""
        self._numbered = self.told = max(self._numbered, number)

    def publish(self, event: Event) -> None:
        """Tell everyone of `event`; call it after the state that it tells of can be read."""
        numbered = self._number(event)
        self.record(numbered)
        self._outbox[numbered.number] = numbered
        self._tell_next()

    def reserve(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Return `events` with their numbers; what comes later waits for `settle`."""
        numbered = tuple(self._number(event) for event in events)
        self._outbox.update((event.number, None) for event in numbered)
        return numbered

    def settle(self, reserved: Iterable[Event], *, happened: bool) -> None:
        """Tell what was reserved, or forget it where it has not happened."""
        for event in reserved:
            if happened:
                self._outbox[event.number] = event
            else:
                del self._outbox[event.number]
        self._tell_next()

    def subscribe(self, wanted: Wanted, limit: int = 1024) -> Subscription:
        """Return a place that queues up to `limit` events for which `wanted` is true."""
        subscription = Subscription(self, wanted, limit)
        self._subscriptions.add(subscription)
        return subscription

    def leave(self, subscription: Subscription) -> None:
        """Forget a subscription (`Subscription.close` calls this)."""
        self._subscriptions.discard(subscription)
        self._finishing.pop(subscription, None)

    def finish(self, subscription: Subscription) -> None:
        """Close a subscription when nothing that is numbered now is left to be told."""
        self._finishing[subscription] = self._numbered
        self._tell_next()

    def close(self) -> None:
        """End every subscription."""
        for subscription in tuple(self._subscriptions):
            subscription.close()

    def _number(self, event: Event) -> Event:
        self._numbered += 1
        return attrs.evolve(event, number=self._numbered)

    def _tell_next(self) -> None:
        """Tell the events that stand first and are settled."""
        if self._telling:
            # Whoever was told of an event caused this one: it comes when all know the first.
            return
        self._telling = True
        try:
            while self._outbox:
                number, event = next(iter(self._outbox.items()))
                if event is None:
                    return
                self._close_finished()
                del self._outbox[number]
                self.told = number
                self.recent.append(event)
                for subscription in tuple(self._subscriptions):
                    subscription.offer(event)
        finally:
            self._telling = False
            self._close_finished()

    def _close_finished(self) -> None:
        """Close those for whom only what comes too late is left."""
        pending = next(iter(self._outbox), None)
        for subscription, last in tuple(self._finishing.items()):
            if pending is None or pending > last:
                subscription.close()
