"""The history of events: written with their changes, read in pages, bounded, kept by restarts."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from dockerapi.engine.errors import EngineError
from dockerapi.engine.events import Event, EventBus
from dockerapi.local.journal import ATTRIBUTES_LIMIT, PAGE, Journal
from dockerapi.local.store import Store


def event(action: str, time_ns: int = 5) -> Event:
    return Event("container", action, "ab" * 32, {"name": "ü\n", "exitCode": "0"}, time_ns)


class JournalTests(TestCase):
    async def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.clock = Clock()
        await self.open()
        self.addCleanup(lambda: self.store.close())

    async def open(self, limit: int = 100) -> None:
        self.store = Store.open(self.path)
        self.bus = EventBus()
        self.journal = Journal(self.store, self.bus, limit, self.clock)
        await self.journal.start()

    async def reopen(self, limit: int = 100) -> None:
        await self.journal.stop()
        await self.store.close()
        await self.open(limit)

    async def past(self, after: int = 0, since: int = 0) -> list[str]:
        found: list[Event] = []
        while page := await self.journal.history.page(after, self.bus.told, since):
            found += page
            after = page[-1].number
        self.assertEqual([one.number for one in found], sorted({one.number for one in found}))
        return [one.action for one in found]

    async def rows(self) -> list[str]:
        def actions(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute("SELECT action FROM events ORDER BY number")
            return [action for (action,) in rows]

        return await self.store.read(actions)

    async def test_moments_that_cannot_be_stored(self) -> None:
        self.bus.publish(event("create"))
        for since, found in ((10**21, []), (2**63, []), (-(10**21), ["create"])):
            self.assertEqual(await self.past(since=since), found)

    async def test_events_outlive_a_restart_whole(self) -> None:
        first = event("create")
        self.bus.publish(first)
        await self.reopen()
        self.bus.publish(event("start"))
        self.assertEqual(await self.past(), ["create", "start"])
        (found, _) = await self.journal.history.page(0, self.bus.told, 0)
        self.assertEqual(found, first)

    async def test_labels_without_end_are_not_kept(self) -> None:
        labels = {"huge": "x" * ATTRIBUTES_LIMIT, "short": "label"}
        told = Event("container", "die", "ab" * 32, {**labels, "exitCode": "0"}, 5)
        self.bus.publish(told)
        await self.reopen()
        (found,) = await self.journal.history.page(0, self.bus.told, 0)
        self.assertEqual(dict(found.attributes), {"short": "label", "exitCode": "0"})

    async def test_a_change_and_its_event_are_one_transaction(self) -> None:
        def fail(connection: sqlite3.Connection) -> None:
            connection.execute("CREATE TABLE half (x INTEGER)")
            raise sqlite3.OperationalError("database or disk is full")

        applied: list[str] = []
        with self.assertRaises((sqlite3.Error, EngineError)):
            await self.journal.commit(fail, [event("start")], lambda: applied.append("start"))
        await self.journal.commit(
            lambda connection: connection.execute("CREATE TABLE whole (x INTEGER)"),
            [event("die"), event("destroy")],
            lambda: applied.append("die"),
        )
        self.assertEqual(await self.rows(), ["die", "destroy"])
        self.assertEqual(applied, ["die"])
        self.assertEqual([one.action for one in self.bus.recent], ["die", "destroy"])

    async def commit_and_leave(self, error: Exception | None) -> tuple[list[Any], list[str]]:
        """Cancel a commit while it is under way; return its results, and what was applied."""
        begun, go_on = threading.Event(), threading.Event()

        def change(connection: sqlite3.Connection) -> int:
            begun.set()
            go_on.wait(60)
            if error is not None:
                raise error
            return 7

        applied: list[str] = []
        results: list[Any] = []
        committing = Deferred.fromCoroutine(
            self.journal.commit(change, [event("start")], lambda: applied.append("start"))
        )
        committing.addBoth(results.append)
        begun.wait(60)
        committing.cancel()
        self.assertEqual((results, applied), ([], []))
        go_on.set()
        while not results:
            await deferLater(reactor, 0.002)
        return results, applied

    async def test_who_leaves_too_late_has_what_was_committed(self) -> None:
        self.assertEqual(await self.commit_and_leave(None), ([7], ["start"]))
        self.assertEqual(await self.rows(), ["start"])
        self.assertEqual([one.action for one in self.bus.recent], ["start"])

    async def test_who_leaves_a_commit_that_fails(self) -> None:
        ((failure,), applied) = await self.commit_and_leave(ValueError("x"))
        self.assertTrue(failure.check(CancelledError))
        self.assertEqual((applied, await self.rows(), list(self.bus.recent)), ([], [], []))
        await self.journal.commit(lambda _: None, [event("die")])
        self.assertEqual([one.action for one in self.bus.recent], ["die"])

    async def test_the_change_can_be_read_when_its_event_is_told(self) -> None:
        applied: list[str] = []
        seen: list[int] = []

        def see(_: Event) -> bool:
            seen.append(len(applied))
            return False

        self.bus.subscribe(see)
        await self.journal.commit(lambda _: None, [event("start")], lambda: applied.append("x"))
        self.assertEqual(seen, [1])

    async def test_what_is_published_is_written_soon_and_together(self) -> None:
        for number in range(10):
            self.bus.publish(event(str(number)))
        self.assertEqual(await self.rows(), [])
        self.clock.advance(0.2)
        self.assertEqual(len(await self.rows()), 10)

    async def test_no_more_is_kept_than_asked_for(self) -> None:
        for number in range(1000):
            self.bus.publish(event(str(number)))
            if number % 10 == 0:
                self.clock.advance(0.2)
        self.assertEqual(await self.past(), [str(number) for number in range(900, 1000)])
        self.assertLessEqual(len(await self.rows()), 100 + 100 // 16 + 10)
        self.assertTrue(self.journal.history.reaches(900))
        self.assertFalse(self.journal.history.reaches(899))

    async def test_long_pasts_come_in_pages(self) -> None:
        await self.reopen(10_000)
        for number in range(3 * PAGE + 1):
            self.bus.publish(event(str(number), number))
        self.assertEqual(len(await self.journal.history.page(0, self.bus.told, 0)), PAGE)
        self.assertEqual(len(await self.past()), 3 * PAGE + 1)
        self.assertEqual(len(await self.past(since=3 * PAGE)), 1)

    async def test_without_a_history_only_memory_remembers(self) -> None:
        self.bus.publish(event("create"))
        await self.reopen(0)
        self.assertEqual(await self.rows(), [])
        await self.journal.commit(lambda _: None, [event("start")])
        self.bus.publish(event("attach"))
        self.assertEqual(await self.past(), ["start", "attach"])
        await self.journal.flush()
        self.assertEqual(await self.rows(), [])
        self.assertTrue(self.journal.history.reaches(0))
        for number in range(256):
            self.bus.publish(event(str(number)))
        self.assertFalse(self.journal.history.reaches(0))
