"""The history of events: the latest of them in the database, for those who ask for the past.

Rule: an event of a change is written in the change's own transaction; all others soon after they
were told, in batches.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from dockerapi.engine.errors import Unavailable
from dockerapi.engine.events import Event, EventBus
from dockerapi.local.store import Store, StoreError

T = TypeVar("T")

#: How much of an event's attributes is kept, in characters: a page of history is 256 events.
ATTRIBUTES_LIMIT = 64 * 1024
#: How many events are read at once.
PAGE = 256
#: How long a published event may wait to be written, in seconds.
_DELAY = 0.2
#: After how many events old ones are removed, at most; at least after a sixteenth of the history.
_PRUNE_EVERY = 1024
#: The last moment that can be stored, in nanoseconds since 1970: in the year 2262.
_LAST_MOMENT = 2**63 - 1


class History(Protocol):
    """What can tell of the past."""

    async def page(self, after: int, last: int, since: int) -> Sequence[Event]:
        """Return the first events with numbers past `after` up to `last`, not before `since`.

        At most `PAGE`; none when there are no more. `since` is in nanoseconds since 1970.
        """

    def reaches(self, number: int) -> bool:
        """Tell whether every event past the one with this number is still known."""


class Recent:
    """The past as the bus remembers it: a few hundred events of this process."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    async def page(self, after: int, last: int, since: int) -> Sequence[Event]:
        """See `History.page`."""
        found = [one for one in self._bus.recent if after < one.number <= last]
        return [one for one in found if one.time_ns >= since][:PAGE]

    def reaches(self, number: int) -> bool:
        """See `History.reaches`."""
        recent = self._bus.recent
        return len(recent) != recent.maxlen or recent[0].number <= number + 1


class Journal:
    """Commits changes with their events, and keeps the last `limit` events; 0 keeps none.

    :ivar history: what tells of the past.
    """

    log = Logger()

    def __init__(self, store: Store, bus: EventBus, limit: int, clock: IReactorTime) -> None:
        self._store = store
        self._bus = bus
        self._limit = limit
        self._clock = clock
        self._pending: deque[Event] = deque(maxlen=max(1, limit))
        self._alarm: IDelayedCall | None = None
        self._pruned = 0
        self.history: History = self if limit else Recent(bus)

    async def start(self) -> None:
        """Go on where an earlier server ended; call it before anything is published."""
        if not self._limit:
            await self._store.write(_forget_all, essential=True)
            return
        last = await self._store.read(_last_number)
        self._pruned = last
        self._bus.continue_after(last)
        self._bus.record = self._record

    async def stop(self) -> None:
        """Write what was not written yet."""
        self._bus.record = lambda _: None
        await self.flush()

    async def commit(
        self,
        change: Callable[[sqlite3.Connection], T],
        events: Iterable[Event] = (),
        apply: Callable[[], None] = lambda: None,
        *,
        essential: bool = False,
    ) -> T:
        """Carry out `change` and write `events` in one transaction; return its result.

        Then `apply` makes the change one that can be read, and the events are told. What `change`
        raises undoes both, and is raised here. Who is cancelled meanwhile: see `Store.write`.
        """
        reserved = self._bus.reserve(events)

        def transaction(connection: sqlite3.Connection) -> T:
            result = change(connection)
            if self._limit:
                _insert(connection, reserved)
            return result

        happened = False
        try:
            result = await self._store.write(transaction, essential=essential)
            apply()
            happened = True
        finally:
            self._bus.settle(reserved, happened=happened)
        return result

    async def page(self, after: int, last: int, since: int) -> Sequence[Event]:
        """See `History.page`."""
        if self._pending:
            await self.flush()
        first = max(after, last - self._limit)
        return await self._store.read(lambda connection: _select(connection, first, last, since))

    def reaches(self, number: int) -> bool:
        """See `History.reaches`."""
        return number >= self._bus.told - self._limit

    async def flush(self) -> None:
        """Write what was published and not written yet; a failure is logged, and loses it."""
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        batch, oldest = tuple(self._pending), None
        self._pending.clear()
        told = self._bus.told
        if told - self._pruned >= min(_PRUNE_EVERY, max(1, self._limit // 16)):
            oldest, self._pruned = told - self._limit, told
        if not batch and oldest is None:
            return

        def write(connection: sqlite3.Connection) -> None:
            _insert(connection, batch)
            if oldest is not None:
                connection.execute("DELETE FROM events WHERE number <= ?", (oldest,))

        try:
            await self._store.write(write)
        except (StoreError, Unavailable) as error:
            self.log.warn("events are missing in the history: {error}", error=str(error))

    def _record(self, event: Event) -> None:
        self._pending.append(event)
        if self._alarm is None:
            self._alarm = self._clock.callLater(_DELAY, self._flush_later)

    def _flush_later(self) -> None:
        self._alarm = None
        Deferred.fromCoroutine(self.flush()).addErrback(
            lambda failure: self.log.failure("the history was not written", failure=failure)
        )


def _forget_all(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM events").close()


def _last_number(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("SELECT max(number) FROM events").fetchone()
    return number or 0


def _insert(connection: sqlite3.Connection, events: Iterable[Event]) -> None:
    connection.executemany(
        "INSERT INTO events (number, time, type, action, actor, attributes, scope)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                event.number,
                event.time_ns,
                event.type,
                event.action,
                event.actor,
                _attributes(event),
                event.scope,
            )
            for event in events
        ],
    )


def _attributes(event: Event) -> str:
    """Return the attributes of an event as they are kept: labels without end are left out."""
    encoded = msgspec.json.encode(event.attributes)
    if len(encoded) > ATTRIBUTES_LIMIT:
        kept, size = {}, 0
        # The shortest first: an event's own attributes are among them.
        for name, value in sorted(event.attributes.items(), key=lambda item: len(item[1])):
            size += len(name) + len(value)
            if size > ATTRIBUTES_LIMIT:
                break
            kept[name] = value
        encoded = msgspec.json.encode(kept)
    return encoded.decode()


def _select(connection: sqlite3.Connection, after: int, last: int, since: int) -> list[Event]:
    rows = connection.execute(
        "SELECT type, action, actor, attributes, time, scope, number FROM events"
        " WHERE number > ? AND number <= ? AND time >= ? ORDER BY number LIMIT ?",
        (after, last, max(-_LAST_MOMENT, min(since, _LAST_MOMENT)), PAGE),
    )
    return [
        Event(kind, action, actor, msgspec.json.decode(attributes), when, scope, number)
        for kind, action, actor, attributes, when, scope, number in rows
    ]
