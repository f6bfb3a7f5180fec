"""Whose parent has ended comes to the server, and is reaped by it."""

from __future__ import annotations

from functools import partial

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.integration import server
from tests.integration.server import Server, wait_until


class OrphanTests(SynchronousTestCase):
    def setUp(self) -> None:
        if reason := server.missing():
            self.skipTest(reason)
        self.server = Server()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.addCleanup(self.server.remove_containers)
        self.server.import_busybox()

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.server.pid).children()

    def test_monitors_belong_to_it_and_are_reaped(self) -> None:
        self.server.docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
        self.assertIn("conmon", [child.name() for child in self.children()])
        self.server.docker("rm", "-f", "one")
        self.assertTrue(wait_until(lambda: not self.children()), self.children())

    def test_a_container_ends_after_execs_that_could_not_start(self) -> None:
        """A child of crun stays in the container, whose first process waits for its end."""
        self.server.docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
        for options in ((), ("-t",), ("-d",)):
            self.assertGreater(self.server.run("exec", *options, "one", "nosuch").returncode, 0)
        self.assertEqual(self.server.run("exec", "one", "sh", "-c", "exit 3").returncode, 3)
        names = [child.name() for child in self.children()]
        self.assertTrue(
            wait_until(lambda: [child.name() for child in self.children()] == ["conmon"]), names
        )
        self.server.docker("rm", "-f", "one")
        self.assertTrue(wait_until(lambda: not self.children()), self.children())

    def test_how_one_ended_that_lost_its_monitor_is_told(self) -> None:
        for command, code in ((("sleep", "1000"), "137"), (("sh", "-c", "read x; exit 7"), "7")):
            self.server.docker("run", "-d", "-i", "--name", "one", "busybox", *command)
            (monitor,) = [child for child in self.children() if child.name() == "conmon"]
            monitor.kill()
            self.assertTrue(wait_until(partial(_is_gone, monitor)))
            if code == "137":
                self.server.docker("kill", "one")
            self.assertEqual(self.server.docker("wait", "one").decode().strip(), code)
            self.server.docker("rm", "one")


def _is_gone(process: psutil.Process) -> bool:
    return not process.is_running()
