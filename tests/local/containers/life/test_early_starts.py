"""A host configuration that comes with a start, as clients before API 1.24 send it."""

from __future__ import annotations

from typing import Any

from dockerapi.engine.errors import InvalidParameter, NotModified
from dockerapi.model.versions import Version
from tests.local.containers.support import RigCase

EARLY = Version(1, 14)


class EarlyStartTests(RigCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.source = self.rig.base / "source"
        self.source.mkdir()

    async def start(self, name: str, **host: Any) -> None:
        host = {"NetworkMode": "none", **host}
        await self.rig.job("ContainerStart", name, body=host, version=EARLY)

    async def mounts(self, name: str) -> dict[str, str]:
        document = await self.rig.job("ContainerInspect", name)
        return {one["Destination"]: one["Source"] for one in document["Mounts"]}

    async def volumes(self) -> set[str]:
        answer = await self.rig.job("VolumeList")
        return {one["Name"] for one in answer["Volumes"] or ()}

    async def test_binds_take_the_place_of_volumes(self) -> None:
        (self.source / "f").write_text("bound")
        await self.rig.create(
            *("sh", "-c", "cat /one/f > /one/g; sleep 1000"),
            name="cc",
            Volumes={"/one": {}, "/two": {}},
        )
        before = await self.mounts("cc")
        await self.start("cc", Binds=[f"{self.source}:/one"], CapAdd=["NET_ADMIN"])
        found = await self.mounts("cc")
        self.assertEqual(found, {"/one": str(self.source), "/two": before["/two"]})
        self.assertEqual(len(await self.volumes()), 1)
        document = await self.rig.job("ContainerInspect", "cc")
        self.assertEqual(document["HostConfig"]["CapAdd"], ["NET_ADMIN"])
        self.assertEqual(document["HostConfig"]["Dns"], [])
        # All of that is kept.
        await self.rig.stop()
        await self.rig.start()
        self.assertEqual(await self.mounts("cc"), found)
        document = await self.rig.job("ContainerInspect", "cc")
        self.assertEqual(document["HostConfig"]["Binds"], [f"{self.source}:/one"])

    async def test_volumes_of_another_and_by_name(self) -> None:
        await self.rig.create("true", name="from", Volumes={"/data": {}})
        await self.rig.create("sleep", "1000", name="cc", Volumes={"/data": {}})
        await self.start("cc", VolumesFrom=["from"], Binds=["named:/named"])
        found = await self.mounts("cc")
        self.assertEqual(found["/data"], (await self.mounts("from"))["/data"])
        self.assertIn("named", await self.volumes())
        self.assertEqual(len(await self.volumes()), 2)

    async def test_what_is_refused_changes_nothing(self) -> None:
        await self.rig.create("sleep", "1000", name="cc", Volumes={"/data": {}})
        before, volumes = await self.mounts("cc"), await self.volumes()
        for host, told in (
            ({"Memory": 524287}, "Minimum memory limit allowed is 6MB"),
            ({"Binds": ["a:/x", "b:/x"]}, "Duplicate mount point: /x"),
            ({"Binds": ["made:/x"], "VolumesFrom": ["nosuch"]}, "No such container: nosuch"),
        ):
            refused = await self.assertRaisesAsync(InvalidParameter, self.start("cc", **host))
            self.assertIn(told, refused)
        self.assertEqual((await self.mounts("cc"), await self.volumes()), (before, volumes))
        await self.rig.job("ContainerStart", "cc", body=b"null", version=EARLY)
        with self.assertRaises(NotModified):
            await self.start("cc", Binds=["late:/late"])
        self.assertEqual((await self.mounts("cc"), await self.volumes()), (before, volumes))

    async def assertRaisesAsync(self, kind: type[InvalidParameter], awaitable: Any) -> str:
        try:
            await awaitable
        except kind as error:
            return error.message
        raise self.failureException(f"{kind.__name__} was not raised")
