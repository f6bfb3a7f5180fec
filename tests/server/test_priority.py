"""Where a policy of real time would be in the way of control groups."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.server.priority import may_be_real_time


class ControlGroupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mount = Path(self.mktemp())
        self.own = self.mount / "system.slice/dockerapi.service"
        self.own.mkdir(parents=True)

    def allowed(self, path: str = "/system.slice/dockerapi.service") -> bool:
        return may_be_real_time(self.mount, f"0::{path}\n")

    def test_version_1_and_hybrid(self) -> None:
        self.assertTrue(self.allowed())

    def test_version_2_wants_the_controller_to_be_enabled(self) -> None:
        (self.mount / "cgroup.controllers").touch()
        self.assertFalse(self.allowed())
        (self.own / "cpu.max").touch()
        self.assertTrue(self.allowed())

    def test_the_root_of_version_2(self) -> None:
        (self.mount / "cgroup.controllers").touch()
        self.assertTrue(self.allowed("/"))
