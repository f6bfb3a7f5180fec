"""What a killed server leaves is ended, so that no failing test leaves it behind."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from dockerapi.local.containers.service import Containers
from tests.integration.server import Server, missing
from tests.local.containers.support import Rig
from tests.strays import strays


class StrayTests(SynchronousTestCase):
    """The end of what a server that was killed had running."""

    def setUp(self) -> None:
        if reason := missing():
            raise SkipTest(reason)
        self.server = Server()
        self.addCleanup(self.server.remove)

    def test_removing_a_killed_server_ends_its_containers(self) -> None:
        """Neither processes nor links, cgroups and mounts remain; paused or not."""
        self.server.start()
        self.server.import_busybox()
        running, paused = (
            self.server.docker("run", "-d", "busybox", "sleep", "1000").decode().strip()
            for _ in range(2)
        )
        self.server.docker("pause", paused)
        links = _links()
        (document,) = json.loads(self.server.docker("inspect", running))
        self.server.kill()
        self.assertIn(document["State"]["Pid"], strays(self.server.directory))
        self.server.remove()
        self.assertEqual(strays(self.server.directory), {})
        self.assertEqual([*_named(running), *_named(paused)], [])
        self.assertEqual(self.server.leftovers(), [])
        self.assertGreaterEqual(len(links - _links()), 2)


class RigTests(TestCase):
    """The end of an engine that did not come up."""

    timeout = 120

    async def test_closing_one_that_started_half(self) -> None:
        """The bridge that was made, and what was made ahead on it, are gone."""
        rig = Rig()
        self.addCleanup(rig.close)
        seen = []

        async def fail(_: Containers) -> None:
            seen.append(Path(f"/sys/class/net/{rig.bridge}").exists())
            raise RuntimeError("no")

        self.patch(Containers, "start", fail)
        with self.assertRaises(RuntimeError):
            await rig.start()
        await rig.close()
        self.assertEqual(seen, [True])
        self.assertFalse(Path(f"/sys/class/net/{rig.bridge}").exists())
        self.assertFalse(rig.base.exists())
        self.assertEqual(strays(rig.base), {})


def _links() -> set[str]:
    """Return the names of the host's ends of veth pairs."""
    text = subprocess.run(("ip", "-br", "link"), capture_output=True, check=True).stdout.decode()
    return set(re.findall(r"^(veth\w+)", text, re.MULTILINE))


def _named(identity: str) -> list[Path]:
    """Return the cgroups with a container's id."""
    return list(Path("/sys/fs/cgroup").glob(f"**/dockerapi/{identity}"))
