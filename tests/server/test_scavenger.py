"""When memory is given back, and that it is."""

from __future__ import annotations

import gc
import weakref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.server.scavenger import FEW, INTERVAL, MANY, Scavenger, give_back


class ScavengerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.done = self.times = 0
        self.clock = Clock()
        self.scavenger = Scavenger(lambda: self.done, self.scavenge, self.clock)
        self.scavenger.start()

    def scavenge(self) -> None:
        self.times += 1

    def work(self, amount: int) -> None:
        self.done += amount
        self.clock.advance(INTERVAL)

    def test_in_the_first_quiet_moment_after_much_work_and_only_then(self) -> None:
        for _ in range(5):
            self.work(MANY)
        self.assertEqual(self.times, 0)
        self.work(0)
        self.assertEqual(self.times, 1)
        for _ in range(5):
            self.work(0)
        self.assertEqual(self.times, 1)

    def test_whoever_watches_the_server_keeps_it_from_nothing(self) -> None:
        self.work(MANY)
        self.work(FEW - 1)
        self.assertEqual(self.times, 1)

    def test_little_work_is_not_worth_while(self) -> None:
        self.work(MANY)
        self.work(0)
        self.assertEqual(self.times, 0)
        self.work(1)
        self.assertEqual(self.times, 1)

    def test_not_after_its_end(self) -> None:
        self.work(2 * MANY)
        self.scavenger.stop()
        self.work(0)
        self.assertEqual(self.times, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class _Node:
    def __init__(self) -> None:
        self.itself = self


class GiveBackTests(SynchronousTestCase):
    def test_circles_are_freed(self) -> None:
        self.addCleanup(gc.enable)
        gc.disable()
        node = weakref.ref(_Node())
        self.assertIsNotNone(node())
        give_back()
        self.assertIsNone(node())
