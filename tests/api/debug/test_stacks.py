"""Stacks, heap, processor profile and latency of this very process."""

from __future__ import annotations

import signal
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from dockerapi.api.debug import heap, stacks
from dockerapi.api.debug.latency import INTERVAL, ReactorLatency
from dockerapi.api.debug.profiler import Busy, Profiler


class StackTests(SynchronousTestCase):
    def test_a_waiting_coroutine_is_seen_where_it_waits(self) -> None:
        waiting: Deferred[None] = Deferred()

        async def innermost_of_this_test() -> None:
            await waiting

        async def outer_of_this_test() -> None:
            await innermost_of_this_test()

        running = Deferred.fromCoroutine(outer_of_this_test())
        found = [
            [frame.function.rpartition(".")[2] for frame in sample.stack][-2:]
            for sample in stacks.tasks().samples
        ]
        self.assertIn(["innermost_of_this_test", "outer_of_this_test"], found)
        waiting.callback(None)
        self.successResultOf(running)

    def test_this_thread_is_among_the_threads(self) -> None:
        names = [frame.function for sample in stacks.threads().samples for frame in sample.stack]
        self.assertIn("thread MainThread", names)

    def test_the_heap_counts_objects_by_type(self) -> None:
        class OfThisTest:
            pass

        kept = [OfThisTest() for _ in range(7)]
        found = {sample.stack[0].function: sample.values for sample in heap.heap().samples}
        name = f"{OfThisTest.__module__}.{OfThisTest.__qualname__}"
        self.assertEqual(found[name][0], len(kept))
        self.assertGreater(found[name][1], 0)


class LatencyTests(SynchronousTestCase):
    def test_measures_how_late_timers_run(self) -> None:
        clock = Clock()
        latency = ReactorLatency(clock)
        latency.start()
        clock.advance(INTERVAL + 0.25)
        self.assertAlmostEqual(latency.last, 0.25)
        clock.advance(INTERVAL)
        self.assertAlmostEqual(latency.last, 0.0)
        self.assertAlmostEqual(latency.longest, 0.25)
        latency.stop()
        self.assertEqual(clock.getDelayedCalls(), [])


class ProfilerTests(TestCase):
    def test_sees_the_function_that_uses_the_processor(self) -> Deferred[None]:
        async def check() -> None:
            profiler = Profiler(reactor)
            running = Deferred.fromCoroutine(profiler.profile(0.4))
            with self.assertRaises(Busy):
                await profiler.profile(0.1)

            def busy_function_of_this_test() -> None:
                end = time.process_time() + 0.15
                while time.process_time() < end:
                    sum(range(1000))

            reactor.callLater(0.05, busy_function_of_this_test)
            profile = await running
            functions = {frame.function for sample in profile.samples for frame in sample.stack}
            self.assertTrue(any("busy_function_of_this_test" in name for name in functions))
            self.assertEqual(signal.getitimer(signal.ITIMER_PROF), (0.0, 0.0))

        return Deferred.fromCoroutine(check())
