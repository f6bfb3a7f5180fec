"""Who runs ahead of others when the server has raised its priority: its reactor's thread alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.server.priority import GROUP_NICE, may_be_real_time
from tests.integration import server
from tests.integration.server import Server, wait_until

#: Starts a program with all of root's capabilities but the one that it takes.
_WITHOUT_THE_RIGHT = ("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-sys_nice")
#: In a session of its own, as a service manager starts it.
_ALONE = ("setsid",)
_LOG = "this one may not raise its priority"


def _may_raise() -> bool:
    """Tell whether processes started here may have the priority that the server wants."""
    if not may_be_real_time(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup").read_text()):
        return False
    wanted = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
    child = subprocess.run((sys.executable, "-c", wanted), stderr=subprocess.DEVNULL, check=False)
    return child.returncode == 0


def _scheduling(task: Path) -> tuple[int, int, int]:
    """Return policy, nice value and real-time priority of a process or thread in /proc."""
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return int(fields[38]), int(fields[16]), int(fields[37])


def _group_nice(pid: int) -> int | None:
    """Return the nice value of the group of a process' session.

    None where the kernel has no groups, and for the first session, which is in none.
    """
    try:
        group = Path(f"/proc/{pid}/autogroup").read_text()
    except FileNotFoundError:
        return None
    return int(group.split()[-1]) if group else None


def _children(pid: int) -> dict[str, tuple[tuple[int, int, int], int | None]]:
    """Return the command lines of all that a process has started, with how they are scheduled."""
    found = {}
    for process in psutil.Process(pid).children(recursive=True):
        # A runtime that has done its work is gone by now.
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            scheduling = _scheduling(Path(f"/proc/{process.pid}"))
            found[" ".join(process.cmdline())] = scheduling, _group_nice(process.pid)
    return found


#: That of whoever runs the tests; one that is negative is not inherited.
_NICE = os.getpriority(os.PRIO_PROCESS, 0)
_PLAIN, _INHERITED = (os.SCHED_OTHER, _NICE, 0), (os.SCHED_OTHER, max(_NICE, 0), 0)
_FIRST = (os.SCHED_RR, _NICE, 1)


class PriorityTests(SynchronousTestCase):
    def setUp(self) -> None:
        if reason := server.missing():
            self.skipTest(reason)
        if not _may_raise():
            self.skipTest("the priority of processes cannot be raised here")

    def serve(self, *options: str, prefix: tuple[str, ...] = ()) -> Server:
        running = Server(*options, prefix=prefix)
        self.addCleanup(running.remove)
        running.start()
        self.addCleanup(running.remove_containers)
        return running

    def threads(self, running: Server) -> dict[int, tuple[int, int, int]]:
        tasks = Path(f"/proc/{running.pid}/task").iterdir()
        return {int(task.name): _scheduling(task) for task in tasks}

    def test_only_the_reactor_comes_first(self) -> None:
        running = self.serve(prefix=_ALONE)
        self.assertIn(_group_nice(running.pid), (GROUP_NICE, None))
        running.import_busybox()
        running.docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
        running.docker("exec", "-d", "one", "sleep", "2000")
        threads = self.threads(running)
        self.assertEqual(threads.pop(running.pid), _FIRST)
        self.assertEqual(set(threads.values()), {_INHERITED})
        wanted = {"sleep 1000", "sleep 2000"}
        # An exec is answered when its process is there, which may not be the program yet.
        self.assertTrue(wait_until(lambda: wanted <= _children(running.pid).keys(), 60))
        for name, (scheduling, group_nice) in _children(running.pid).items():
            self.assertEqual(scheduling, _INHERITED, name)
            self.assertIn(group_nice, (0, None), name)

    def test_a_server_that_is_told_not_to(self) -> None:
        running = self.serve("--no-raise-priority", prefix=_ALONE)
        self.assertEqual(set(self.threads(running).values()), {_PLAIN})
        self.assertIn(_group_nice(running.pid), (0, None))
        self.assertNotIn(_LOG, running.log)

    def test_the_session_of_others_is_left_alone(self) -> None:
        before = _group_nice(os.getpid())
        running = self.serve()
        self.assertEqual(self.threads(running)[running.pid], _FIRST)
        self.assertEqual(_group_nice(running.pid), before)

    def test_a_server_that_may_not(self) -> None:
        running = self.serve(prefix=_WITHOUT_THE_RIGHT)
        self.assertEqual(set(self.threads(running).values()), {_PLAIN})
        self.assertIn(_LOG, running.log)
