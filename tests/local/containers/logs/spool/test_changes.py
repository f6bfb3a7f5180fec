"""Word of changes of files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from dockerapi.local.containers.logs.spool.changes import Changes, give_up


class ChangesTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="dockerapi-log-"))
        self.addCleanup(shutil.rmtree, directory)
        self.path = directory / "log"
        self.path.write_bytes(b"")
        self.changes = Changes(reactor)
        self.addCleanup(self.changes.stop)

    async def test_everyone_who_waits_is_told_once(self) -> None:
        waiters = [self.changes.next(self.path) for _ in range(3)]
        await deferLater(reactor, 0.02)
        self.assertEqual([waiter.called for waiter in waiters], [False] * 3)
        self.path.write_bytes(b"x")
        for waiter in waiters:
            await waiter
        again = self.changes.next(self.path)
        await deferLater(reactor, 0.02)
        self.assertFalse(again.called)
        self.path.write_bytes(b"y")
        await again

    async def test_a_file_that_took_the_others_place(self) -> None:
        first = self.changes.next(self.path)
        self.path.rename(self.path.with_suffix(".1"))
        self.path.write_bytes(b"")
        await deferLater(reactor, 0.02)
        self.assertFalse(first.called)
        self.changes.tell(self.path)
        self.assertTrue(first.called)
        second = self.changes.next(self.path)
        self.path.with_suffix(".1").write_bytes(b"x")
        await deferLater(reactor, 0.02)
        self.assertFalse(second.called)
        self.path.write_bytes(b"x")
        await second.addTimeout(60, reactor)

    def test_a_file_that_is_not_there(self) -> None:
        clock, path = Clock(), self.path.with_suffix(".no")
        changes = Changes(clock)
        self.addCleanup(changes.stop)
        waiter, told = changes.next(path, 5), changes.next(path)
        clock.advance(4.9)
        self.assertFalse(waiter.called)
        clock.advance(0.2)
        self.assertEqual((waiter.called, told.called), (True, False))
        changes.tell(path)
        self.assertTrue(told.called)

    async def test_giving_up(self) -> None:
        kept, left = self.changes.next(self.path), self.changes.next(self.path)
        give_up(left)
        self.path.write_bytes(b"x")
        await kept
        give_up(kept)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_cancellation_is_told_to_who_waits(self) -> None:
        waiter = self.changes.next(self.path, 5)
        waiter.cancel()
        await self.assertFailure(waiter, CancelledError)
