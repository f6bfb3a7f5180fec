"""What objects take on disk: measured once for all who ask, told by version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.datausage import DataUsage
from dockerapi.local.images.index import Index
from dockerapi.model.usage import IMAGE, VOLUME, DataUsageRequest, Usage, document
from dockerapi.model.versions import Version
from tests.local.containers.support import RigCase


class VersionTests(SynchronousTestCase):
    usages = {
        IMAGE: Usage([{"Id": "i"}], active=1, total=5),
        VOLUME: Usage([{"Name": "v"}], total=3, reclaimable=3),
    }

    def told(self, minor: int, *, verbose: bool = False) -> dict[str, Any]:
        request = DataUsageRequest(frozenset(self.usages), verbose, Version(1, minor))
        return document(request, self.usages)

    def test_lists_and_from_1_52_on_sums(self) -> None:
        lists = {
            "LayersSize": 5,
            "Images": [{"Id": "i"}],
            "Volumes": [{"Name": "v"}],
            "Containers": None,
            "BuildCache": None,
        }
        sums = {"ImageUsage", "VolumeUsage"}
        self.assertEqual(self.told(39), {**lists, "BuilderSize": 0})
        self.assertEqual(self.told(51), lists)
        self.assertEqual(set(self.told(52)), {*lists, *sums})
        told = self.told(52, verbose=True)
        self.assertEqual(set(told), sums)
        volumes = {"TotalCount": 1, "TotalSize": 3, "Reclaimable": 3, "Items": [{"Name": "v"}]}
        self.assertEqual(told["VolumeUsage"], volumes)


class MeasuringTests(RigCase):
    async def setUp(self) -> None:
        await super().setUp()
        foundation = self.rig.foundation
        self.usage = DataUsage(
            Index(), foundation.registry, foundation.listing, self.rig.volumes.catalogue
        )
        self.usage.register(self.rig.engine)

    async def written(self, path: Path) -> None:
        """Return when something is in the file `path`."""
        for _ in range(3000):
            if path.exists() and path.stat().st_size:
                return
            await deferLater(reactor, 0.02)
        self.fail(f"nothing was written into {path}")

    async def test_sizes_and_counts(self) -> None:
        host = {"Binds": ["vol:/v"]}
        script = ("sh", "-c", "echo 12345 > /v/f; echo 123 > /g; sleep 60")
        made = await self.rig.create(*script, name="one", host=host)
        await self.rig.job("ContainerStart", "one")
        await self.rig.job("VolumeCreate", body={"Name": "idle"})
        options = {"type": "tmpfs", "device": "tmpfs"}
        await self.rig.job("VolumeCreate", body={"Name": "ram", "DriverOpts": options})
        (self.rig.layout.volume("idle") / "_data" / "f").write_text("1234567")
        await self.written(self.rig.layout.volume("vol") / "_data" / "f")
        await self.written(self.rig.layout.container(made["Id"]) / "upper" / "g")
        answer = await self.rig.job("SystemDataUsage", query="verbose=1&type=volume")
        self.assertEqual(list(answer), ["VolumeUsage"])
        volumes = answer["VolumeUsage"]
        self.assertEqual((volumes["TotalSize"], volumes["Reclaimable"]), (13, 7))
        self.assertEqual((volumes["TotalCount"], volumes["ActiveCount"]), (2, 1))
        await self.rig.job("ContainerKill", "one")
        answer = await self.rig.job("SystemDataUsage", version=Version(1, 44))
        (row,) = answer["Containers"]
        self.assertGreaterEqual(row["SizeRw"], 4)
        self.assertEqual(row["SizeRw"], row["SizeRootFs"])
        await self.assertFailure(
            self.rig.make_job("SystemDataUsage", query="type=nosuch").run(), InvalidParameter
        )

    async def test_what_changes_is_told_at_once(self) -> None:
        await self.rig.create("true", name="one")
        (first,) = (await self.rig.job("SystemDataUsage"))["Containers"]
        await self.rig.job("ContainerRename", "one", query="name=two")
        (second,) = (await self.rig.job("SystemDataUsage"))["Containers"]
        self.assertEqual((first["Names"], second["Names"]), (["/one"], ["/two"]))

    async def test_one_walk_for_all_who_ask(self) -> None:
        await self.rig.create("true", name="one")
        walks: list[None] = []
        measured = self.rig.foundation.listing.measured

        async def counted() -> Any:
            walks.append(None)
            return await measured()

        self.patch(self.rig.foundation.listing, "measured", counted)
        asked = [self.rig.job("SystemDataUsage") for _ in range(5)]
        answers = await gatherResults([Deferred.fromCoroutine(one) for one in asked])
        self.assertEqual(len(walks), 1)
        self.assertEqual(answers, [answers[0]] * 5)
        await self.rig.job("SystemDataUsage")
        self.assertEqual(len(walks), 2)

    async def test_what_does_not_run_is_measured_once(self) -> None:
        output = await self.rig.create("sh", "-c", "echo 1 > /f; sleep 60", name="one")
        container = self.rig.containers.registry.get("one")
        (before,) = await self.rig.foundation.sizes.of([container])
        self.assertEqual(before.written, 0)
        upper = self.rig.layout.container(output["Id"]) / "upper"
        await self.rig.job("ContainerStart", "one")
        await self.written(upper / "f")
        (running,) = await self.rig.foundation.sizes.of([container])
        self.assertGreater(running.written, 0)
        await self.rig.job("ContainerKill", "one")
        (ended,) = await self.rig.foundation.sizes.of([container])
        (upper / "unseen").write_text("x" * 100)
        self.assertEqual((await self.rig.foundation.sizes.of([container]))[0], ended)
