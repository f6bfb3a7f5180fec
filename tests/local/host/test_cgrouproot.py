"""The root of cgroups: real cgroups of version 2, below the host's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dockerapi.local.host.cgrouproot import INIT, pass_controllers_on

_HOSTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


class RootTests(SynchronousTestCase):
    def setUp(self) -> None:
        found = [root for root in _HOSTS if (root / "cgroup.controllers").exists()]
        if not found or os.geteuid():
            raise SkipTest("needs root and version 2 of cgroups")
        self.root = found[0] / f"dockerapi-test-{os.getpid()}"
        self.root.mkdir()
        self.addCleanup(self.remove)
        self.process = subprocess.Popen(["sleep", "1000"])
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        (self.root / "cgroup.procs").write_text(str(self.process.pid))

    def remove(self) -> None:
        for path in (self.root / INIT, self.root):
            if path.exists():
                path.rmdir()

    def processes(self, path: Path) -> list[str]:
        return (path / "cgroup.procs").read_text().split()

    def words(self, name: str) -> set[str]:
        return set((self.root / name).read_text().split())

    def test_controllers_are_passed_on(self) -> None:
        if not self.words("cgroup.controllers"):
            raise SkipTest("this host has all controllers in version 1")
        self.assertEqual(pass_controllers_on(self.root), 1)
        self.assertEqual(self.processes(self.root), [])
        self.assertEqual(self.processes(self.root / INIT), [str(self.process.pid)])
        self.assertEqual(self.words("cgroup.subtree_control"), self.words("cgroup.controllers"))
        # As after a restart.
        self.assertEqual(pass_controllers_on(self.root), 0)

    def test_without_controllers_nothing_is_moved(self) -> None:
        if self.words("cgroup.controllers"):
            raise SkipTest("this host has controllers in version 2")
        self.assertEqual(pass_controllers_on(self.root), 0)
        self.assertEqual(self.processes(self.root), [str(self.process.pid)])

    def test_the_hosts_root_is_left_alone(self) -> None:
        before = self.processes(self.root.parent)
        self.assertEqual(pass_controllers_on(self.root.parent), 0)
        self.assertFalse((self.root.parent / INIT).exists())
        self.assertTrue(set(before) & set(self.processes(self.root.parent)))
