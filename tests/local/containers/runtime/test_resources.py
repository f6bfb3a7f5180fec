"""What of a container's limits stays where the host's cgroups lack something."""

from __future__ import annotations

from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.containers.runtime.resources import CgroupSupport, drop_unsupported
from dockerapi.model.containers import HostConfig

ALL = CgroupSupport(
    unified=False,
    memory=True,
    swap=True,
    cpu=True,
    cpuset=True,
    pids=True,
    weights=True,
    swappiness=True,
    realtime=True,
)
HOST = HostConfig(memory=1 << 24, cpu_shares=512, cpuset_cpus="0", pids_limit=9)
LIMITS = (
    ("memory", "memory", "memory limit"),
    ("cpu", "cpu_shares", "CPU CFS"),
    ("cpuset", "cpuset_cpus", "cpuset"),
    ("pids", "pids_limit", "PIDs limit"),
)


class DropTests(SynchronousTestCase):
    def test_each_controller_bears_its_limits(self) -> None:
        self.assertEqual(drop_unsupported(HOST, ALL), (HOST, []))
        for controller, limit, told in LIMITS:
            left, warnings = drop_unsupported(HOST, structs.replace(ALL, **{controller: False}))
            self.assertFalse(getattr(left, limit), controller)
            self.assertEqual(structs.replace(left, **{limit: getattr(HOST, limit)}), HOST)
            (warning,) = warnings
            self.assertIn(told, warning)
