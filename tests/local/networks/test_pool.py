"""The stock of things made ahead."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import Unavailable
from dockerapi.local.networks.pool import Pool


class PoolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.making: list[Deferred[int]] = []
        self.pool = Pool(self.clock, self.make, 2)

    async def make(self) -> int:
        made: Deferred[int] = Deferred()
        self.making.append(made)
        return await made

    def made(self, thing: int) -> None:
        self.making[-1].callback(thing)

    def take(self) -> Deferred[int]:
        return Deferred.fromCoroutine(self.pool.take())

    def fill(self) -> None:
        self.pool.fill()
        self.made(1)
        self.made(2)

    def test_made_ahead_one_at_a_time(self) -> None:
        self.pool.fill()
        self.pool.fill()
        self.assertEqual(len(self.making), 1)
        self.made(1)
        self.assertEqual(len(self.making), 2)
        self.made(2)
        self.assertEqual((len(self.making), len(self.pool)), (2, 2))

    def test_taken_at_once_and_refilled_after_a_pause(self) -> None:
        self.fill()
        self.assertEqual(self.successResultOf(self.take()), 1)
        self.assertEqual(len(self.making), 2)
        self.clock.advance(self.pool.pause)
        self.assertEqual(len(self.making), 3)

    def test_made_on_demand(self) -> None:
        taken = self.take()
        self.assertNoResult(taken)
        self.made(7)
        self.assertEqual(self.successResultOf(taken), 7)

    def test_who_waits_comes_before_the_stock(self) -> None:
        self.pool.fill()
        first, second = self.take(), self.take()
        self.made(1)
        self.made(2)
        self.assertEqual(self.successResultOf(first), 1)
        self.assertEqual(self.successResultOf(second), 2)
        self.assertEqual(len(self.pool), 0)

    def test_nothing_is_lost_when_one_gives_up(self) -> None:
        taken = self.take()
        taken.cancel()
        self.failureResultOf(taken, CancelledError)
        self.made(1)
        self.assertEqual(len(self.pool), 1)

    def test_failure_reaches_who_waits_and_ends_the_refill(self) -> None:
        taken = self.take()
        self.making[-1].errback(OSError("no"))
        self.failureResultOf(taken, OSError)
        self.clock.advance(60)
        self.assertEqual(len(self.making), 1)
        again = self.take()
        self.made(1)
        self.assertEqual(self.successResultOf(again), 1)

    def test_close_waits_for_what_is_being_made(self) -> None:
        self.pool.fill()
        closed = Deferred.fromCoroutine(self.pool.close())
        self.assertNoResult(closed)
        self.made(1)
        self.assertEqual(self.successResultOf(closed), [1])
        self.failureResultOf(self.take(), Unavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_refuses_who_waits(self) -> None:
        first, second = self.take(), self.take()
        closed = Deferred.fromCoroutine(self.pool.close())
        self.made(1)
        self.assertEqual(self.successResultOf(first), 1)
        self.failureResultOf(second, Unavailable)
        self.assertEqual(self.successResultOf(closed), [])

    def test_close_with_a_refill_due(self) -> None:
        self.fill()
        self.successResultOf(self.take())
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(self.pool.close())), [2])
        self.assertEqual(self.clock.getDelayedCalls(), [])
