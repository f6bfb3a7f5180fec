"""Finding what a killed server left."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.containers.life.leftovers import Helper, find_helpers, kill, traces, wait_for
from dockerapi.local.layout import Layout

ONE, TWO, EXEC = "a1" * 32, "b2" * 32, "c3" * 32


class LeftoversTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.layout = Layout(self.base / "data", self.base / "run")
        self.layout.make()

    def process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process that is called with `arguments` and does nothing."""
        process = subprocess.Popen(("sh", "-c", "read -r line", *arguments), stdin=subprocess.PIPE)
        assert process.stdin is not None
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_helpers_are_known_by_their_options(self) -> None:
        bundle = str(self.layout.container_run(ONE))
        monitor = self.process("conmon", "--cid", ONE, "--bundle", bundle)
        of_exec = self.process("conmon", "--bundle", f"{bundle}/execs/{EXEC}", "--exec")
        runtime = self.process("any", f"--root={self.layout.run}/any", "delete", TWO)
        self.process("vim", f"{bundle}/config.json")
        self.process("conmon", "--bundle", f"/elsewhere/c/{ONE}")
        self.assertEqual(
            {
                name: sorted(found, key=lambda one: one.exec_id)
                for name, found in find_helpers(self.layout).items()
            },
            {
                ONE: [Helper(monitor.pid, ONE), Helper(of_exec.pid, ONE, EXEC)],
                TWO: [Helper(runtime.pid, TWO)],
            },
        )

    def test_kill_takes_only_who_is_still_that_helper(self) -> None:
        monitor = self.process("--bundle", str(self.layout.container_run(ONE)))
        other = self.process("something", "else")
        kill(
            [Helper(monitor.pid, ONE), Helper(other.pid, ONE), Helper(2**22 - 1, ONE)], self.layout
        )
        self.assertEqual(monitor.wait(60), -9)
        self.assertIsNone(other.poll())

    def test_waiting_has_an_end(self) -> None:
        process = self.process("--bundle", str(self.layout.container_run(ONE)))
        wait_for([Helper(process.pid, ONE)], 0.05)
        self.assertIsNone(process.poll())
        process.kill()
        wait_for([Helper(process.pid, ONE)], 5.0)
        self.assertEqual(process.wait(60), -9)

    def test_traces_of_each_kind(self) -> None:
        self.layout.container(ONE).mkdir()
        (self.layout.run / "crun" / TWO).mkdir(parents=True)
        (self.layout.run / "crun" / "no id").mkdir()
        self.layout.container_run(EXEC).mkdir()
        self.assertEqual(traces(self.layout), {ONE, TWO, EXEC})
