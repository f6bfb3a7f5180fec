"""Work in threads."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from dockerapi.local.host.threads import LIMIT, in_thread, submit


class ThreadTests(TestCase):
    timeout = 120

    async def test_result_in_the_reactors_thread(self) -> None:
        here = threading.current_thread()
        there = await in_thread(threading.current_thread)
        self.assertIsNot(there, here)
        self.assertIs(threading.current_thread(), here)

    async def test_error(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            await in_thread(divmod, 1, 0)

    async def test_a_result_is_not_kept(self) -> None:
        class Large:
            def __init__(self) -> None:
                # Long enough for the caller to wait.
                time.sleep(0.05)

        gc.disable()
        self.addCleanup(gc.enable)
        result = await in_thread(Large)
        kept = weakref.ref(result)
        del result
        # The worker lets go of it when it is given something else, or a moment later.
        await deferLater(reactor, 0.05)
        self.assertIsNone(kept())

    async def test_bounded(self) -> None:
        names = [await in_thread(lambda: threading.current_thread().name) for _ in range(50)]
        self.assertLessEqual(len(set(names)), LIMIT)

    async def test_given_up_before_it_began(self) -> None:
        pool = ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        gate = threading.Event()
        ran: list[int] = []
        first = submit(pool, gate.wait, 10)
        second = submit(pool, ran.append, 1)
        second.cancel()
        await self.assertFailure(second, CancelledError)
        gate.set()
        await first
        await submit(pool, ran.append, 2)
        self.assertEqual(ran, [2])

    async def test_given_up_while_it_runs(self) -> None:
        gate = threading.Event()
        waiting = in_thread(gate.wait, 10)
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        gate.set()
        self.assertEqual(await in_thread(int, "7"), 7)
