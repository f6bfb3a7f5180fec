"""`docker system df`: what it counts, on ours and on a dockerd side by side."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration import dockerd, server
from tests.integration.dockerd import Dockerd
from tests.integration.server import Server, busybox_archive, wait_until
from tests.unixhttp import UnixConnection

#: Files of every kind in the root and in a volume, some with a second name.
SCRIPT = """
for place in /d /v; do
  mkdir -p $place/sub; echo 12345 > $place/f; ln $place/f $place/sub/hard; ln -s f $place/sym
  head -c 100000 /dev/zero > $place/sub/big; mkfifo $place/pipe; mknod $place/null c 1 3
  dd if=/dev/zero of=$place/sparse bs=1 count=1 seek=5000000 2> /dev/null
done
echo x >> /etc/passwd; rm /etc/group; echo done > /ready; exec sleep 1000
"""


def usage(side: Dockerd) -> dict[str, Any]:
    """Return what of the answer does not depend on names and times."""
    connection = UnixConnection(side.socket)
    try:
        connection.request("GET", "/v1.41/system/df")
        told = json.load(connection.getresponse())
    finally:
        connection.close()
    return {
        "layers": told["LayersSize"],
        "images": sorted((one["Size"], one["Containers"]) for one in told["Images"]),
        "shared": sorted(one["SharedSize"] for one in told["Images"]),
        "containers": {
            one["Names"][0]: (one.get("SizeRw", 0), one.get("SizeRootFs", 0))
            for one in told["Containers"]
        },
        "volumes": {one["Name"]: one["UsageData"] for one in told["Volumes"]},
    }


class UsageTests(SynchronousTestCase):
    """Two images, of which one is made of the other, and containers that run and do not."""

    skip = server.missing() or dockerd.missing() or None

    def setUp(self) -> None:
        self.sides: list[Dockerd] = [Dockerd(), Server()]
        archive = busybox_archive()
        for side in self.sides:
            self.addCleanup(side.remove)
            side.start()
            side.docker("import", "-", "busybox", stdin=archive)
            self.addCleanup(side.docker, "rm", "-fv", "runs", "idle")
            run = ("run", "-d", "--net", "none", "-v", "vol:/v", "--name", "runs")
            side.docker(*run, "busybox", "sh", "-c", SCRIPT)
            ready = lambda side=side: (  # noqa: E731
                b"done" in side.docker("exec", "runs", "sh", "-c", "cat /ready || true")
            )
            self.assertTrue(wait_until(ready))

    def test_the_same_numbers(self) -> None:
        for side in self.sides:
            side.docker("commit", "runs", "made:1")
            side.docker("create", "--net", "none", "--name", "idle", "made:1", "true")
        theirs, ours = (usage(side) for side in self.sides)
        self.assertEqual(theirs, ours)
        self.assertGreater(ours["containers"]["/runs"][0], 5_100_000)
        for side in self.sides:
            side.docker("exec", "runs", "sh", "-c", "head -c 7000 /dev/zero > /more; rm /d/f")
        theirs, ours = (usage(side) for side in self.sides)
        self.assertEqual(theirs, ours)
        for side in self.sides:
            side.docker("kill", "runs")
        theirs, ours = (usage(side) for side in self.sides)
        self.assertEqual(theirs, ours)
