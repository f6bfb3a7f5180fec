"""The reactor's priority while much flows in."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dockerapi.local.host.flow import Flow

_MUCH = 1 << 21


def _in_real_time() -> bool:
    return bool(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR)


def _priorities() -> list[bool]:
    """Return whether this thread has a policy of real time, step by step."""
    os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    found = []
    with Flow() as first:
        first.count(1000)
        found.append(_in_real_time())
        first.count(_MUCH)
        found.append(_in_real_time())
        with Flow() as second:
            second.count(_MUCH)
        with Flow() as third:
            third.count(10)
        found.append(_in_real_time())
    found.append(_in_real_time())
    found.append(os.sched_getparam(0).sched_priority == 1)
    found.append(bool(os.sched_getscheduler(0) & os.SCHED_RESET_ON_FORK))
    return found


def _usual() -> list[int]:
    """Return the policies of a thread without real time."""
    with Flow() as flow:
        flow.count(_MUCH)
        within = os.sched_getscheduler(0)
    return [within, os.sched_getscheduler(0)]


class FlowTests(SynchronousTestCase):
    """In a thread of its own, whose policy is its own."""

    def test_only_while_much_flows(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            try:
                found = pool.submit(_priorities).result()
            except PermissionError as error:
                raise SkipTest("policies of real time are not allowed here") from error
        self.assertEqual(found, [True, False, False, True, True, True])

    def test_what_is_not_raised_is_left_alone(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            self.assertEqual(pool.submit(_usual).result(), [os.SCHED_OTHER] * 2)
