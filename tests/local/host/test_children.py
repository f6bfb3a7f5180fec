"""Orphans are reaped, and nobody else's children."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.host.children import Orphans, forget, start_expected

_SUBREAPER = textwrap.dedent(
    """
    import os, subprocess, sys, time
    from twisted.internet.task import Clock
    from dockerapi.local.host.children import Orphans

    orphans = Orphans(Clock())
    orphans.adopt()
    shell = "sleep 1000 >/dev/null 2>&1 & echo $!"
    pid = int(subprocess.check_output(("sh", "-c", shell)))
    print(open(f"/proc/{pid}/stat").read().split()[3] == str(os.getpid()))
    os.kill(pid, 9)
    while open(f"/proc/{pid}/stat").read().split()[2] != "Z":
        time.sleep(0.01)
    orphans.reap()
    print(os.path.exists(f"/proc/{pid}"))
    """
)


def _ended() -> int:
    """Return a child that has ended and that nobody has waited for."""
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return pid


def _is_zombie(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


class OrphansTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.orphans = Orphans(self.clock)

    def test_what_nobody_expects_is_reaped(self) -> None:
        ended = [_ended() for _ in range(3)]
        self.orphans.reap()
        self.assertEqual([pid for pid in ended if _is_zombie(pid)], [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_expected_is_left_and_looked_behind_later(self) -> None:
        pid = start_expected(_ended)
        behind = _ended()
        self.orphans.reap()
        self.orphans.reap()
        self.assertTrue(_is_zombie(pid))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        forget(pid)
        os.waitpid(pid, 0)
        self.clock.advance(1)
        self.assertFalse(_is_zombie(behind))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_child_whose_number_is_not_known_yet_is_left(self) -> None:
        def start() -> int:
            pid = _ended()
            self.orphans.reap()
            self.assertTrue(_is_zombie(pid))
            return pid

        pid = start_expected(start)
        self.orphans.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        forget(pid)
        os.waitpid(pid, 0)

    def test_a_child_that_could_not_start_keeps_nobody(self) -> None:
        self.assertRaises(ZeroDivisionError, start_expected, lambda: 1 // 0)
        pid = _ended()
        self.orphans.reap()
        self.assertFalse(_is_zombie(pid))

    def test_a_subreaper_gets_them(self) -> None:
        told = subprocess.check_output((sys.executable, "-c", _SUBREAPER), text=True)
        self.assertEqual(told.split(), ["True", "False"])
