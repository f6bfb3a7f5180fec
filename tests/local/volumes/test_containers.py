"""Volumes of real containers: filled, shared, mounted, counted, given back."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.local.host.syscalls import MountFlag, UnmountFlag, mount, umount
from dockerapi.local.host.threads import LIMIT, in_thread
from dockerapi.local.volumes import driver
from dockerapi.local.volumes.volume import ANONYMOUS
from dockerapi.model.versions import Version
from tests.local.containers.support import RigCase


def mounted(part: str) -> list[str]:
    """Return the mount points on this host that hold `part`."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if part in line.split()[4]]


class VolumeCase(RigCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.addCleanup(self.check_mounts)

    async def check_mounts(self) -> None:
        await self.rig.close()
        self.assertEqual([path for path in mounted(str(self.rig.base)) if "/mounts" in path], [])

    async def names(self) -> list[str]:
        return [one["Name"] for one in (await self.rig.job("VolumeList"))["Volumes"]]

    async def refused(self, kind: type[EngineError], *job: str, **more: Any) -> str:
        error = await self.assertFailure(self.rig.make_job(*job, **more).run(), kind)
        return str(error.message)

    async def mounts(self, name: str) -> dict[str, Any]:
        found = (await self.rig.job("ContainerInspect", name))["Mounts"]
        return {mount["Destination"]: mount for mount in found}

    def events(self) -> list[tuple[str, str]]:
        recent = self.rig.engine.events.recent
        return [(one.action, one.actor) for one in recent if one.type == "volume"]


class LifeTests(VolumeCase):
    async def test_a_named_volume_outlives_its_containers(self) -> None:
        host = {"Binds": ["named:/data"]}
        await self.rig.run("sh", "-c", "echo kept > /data/f", name="one", host=host)
        self.assertEqual(await self.rig.run("cat", "/data/f", name="two", host=host), "kept\n")
        self.assertEqual(await self.names(), ["named"])
        await self.rig.job("VolumeDelete", "named")
        self.assertEqual(await self.names(), [])
        self.assertEqual(os.listdir(self.rig.layout.volumes), [])

    async def test_in_use(self) -> None:
        made = await self.rig.create("true", name="one", host={"Binds": ["named:/data"]})
        words = await self.refused(Conflict, "VolumeDelete", "named", query="force=1")
        self.assertEqual(words, f"remove named: volume is in use - [{made['Id']}]")
        await self.rig.job("ContainerDelete", "one", query="v=1")
        await self.rig.job("VolumeDelete", "named")
        words = await self.refused(NotFound, "VolumeDelete", "named")
        self.assertEqual(words, "get named: no such volume")
        await self.rig.job("VolumeDelete", "named", query="force=1")

    async def test_anonymous_ones_go_when_asked_for_or_with_auto_remove(self) -> None:
        host = {"Binds": ["/bound"], "Mounts": [{"Type": "volume", "Target": "/mounted"}]}
        for name in ("kept", "gone"):
            await self.rig.create("true", name=name, host=host, Volumes={"/config": {}})
        (first, *_) = (await self.rig.job("VolumeList"))["Volumes"]
        self.assertEqual(first["Labels"], {ANONYMOUS: ""})
        await self.rig.job("ContainerDelete", "gone", query="v=1")
        await self.rig.job("ContainerDelete", "kept")
        self.assertEqual(len(await self.names()), 3)
        await self.rig.job("VolumePrune")
        self.assertEqual(await self.names(), [])
        await self.rig.create(
            "true", name="auto", host={**host, "AutoRemove": True}, Volumes={"/config": {}}
        )
        waiting = await self.rig.wait("auto", "removed")
        await self.rig.job("ContainerStart", "auto")
        await waiting
        self.assertEqual(await self.names(), [])

    async def test_prune_spares_names_from_1_42_on(self) -> None:
        await self.rig.job("VolumeCreate", body={"Name": "named"})
        await self.rig.job("VolumeCreate", body={})
        pruned = await self.rig.job("VolumePrune")
        self.assertNotIn("named", pruned["VolumesDeleted"])
        self.assertEqual(await self.names(), ["named"])
        await self.rig.job("VolumePrune", query='filters={"all":["1"]}')
        self.assertEqual(await self.names(), [])
        await self.rig.job("VolumeCreate", body={"Name": "named"})
        await self.rig.job("VolumePrune", version=Version(1, 41))
        self.assertEqual(await self.names(), [])

    async def test_what_fails_leaves_nothing(self) -> None:
        host = {"Binds": ["fresh:/data", "a/b:/other"]}
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host}
        await self.refused(InvalidParameter, "ContainerCreate", body=body)
        self.assertEqual(await self.names(), [])

    async def test_from_other_containers(self) -> None:
        host = {"Binds": ["named:/data", "/etc:/etc2:ro"], "VolumesFrom": []}
        await self.rig.create("true", name="first", host=host)
        await self.rig.create("true", name="second", host={"VolumesFrom": ["first:ro"]})
        mounts = await self.mounts("second")
        self.assertEqual(mounts["/data"]["Name"], "named")
        self.assertEqual((mounts["/data"]["RW"], mounts["/data"]["Mode"]), (False, ""))
        self.assertEqual(mounts["/etc2"]["Source"], "/etc")
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"VolumesFrom": ["nosuch"]}}
        words = await self.refused(InvalidParameter, "ContainerCreate", body=body)
        self.assertEqual(words, "No such container: nosuch")

    async def test_events(self) -> None:
        await self.rig.run("true", name="one", host={"Binds": ["named:/data"]})
        await self.rig.job("VolumeDelete", "named")
        actions = ["create", "mount", "unmount", "destroy"]
        self.assertEqual(self.events(), [(action, "named") for action in actions])


class FillTests(VolumeCase):
    async def test_an_empty_volume_gets_what_the_image_has(self) -> None:
        layer = self.rig.images.layer
        (layer / "seed").mkdir(mode=0o750)
        (layer / "seed" / "f").write_text("image\n")
        os.chown(layer / "seed", 3, 4)
        host = {"Binds": ["filled:/seed", "bare:/seed2"]}
        show = ("sh", "-c", "cat /seed/f; ls -dn /seed")
        output = await self.rig.run(*show, name="one", host=host)
        self.assertIn("image\ndrwxr-x---    2 3        4 ", output)
        await self.rig.run("sh", "-c", "echo new > /seed/f", name="two", host=host)
        self.assertIn("new\n", await self.rig.run(*show, name="three", host=host))
        mount = {"Type": "volume", "Target": "/seed", "VolumeOptions": {"NoCopy": True}}
        output = await self.rig.run("ls", "/seed", name="four", host={"Mounts": [mount]})
        self.assertEqual(output, "")

    async def test_links_of_a_hostile_image_lead_nowhere(self) -> None:
        layer = self.rig.images.layer
        outside = self.rig.base / "outside"
        outside.mkdir()
        (outside / "secret").write_text("secret")
        (layer / "evil").symlink_to(outside)
        (layer / "file").write_text("")
        await self.rig.create("true", name="one", host={"Binds": ["vol:/evil"]})
        self.assertEqual(os.listdir(self.rig.layout.volume("vol") / "_data"), [])
        body = {"Image": "busybox", "Cmd": ["true"], "Volumes": {"/file": {}}}
        words = await self.refused(EngineError, "ContainerCreate", body=body)
        self.assertIn("cannot mount volume over existing file", words)
        self.assertEqual(await self.names(), ["vol"])


class OptionTests(VolumeCase):
    async def create(self, name: str, **options: str) -> None:
        await self.rig.job("VolumeCreate", body={"Name": name, "DriverOpts": options})

    async def test_mounted_for_the_first_and_unmounted_after_the_last(self) -> None:
        await self.create("ram", type="tmpfs", device="tmpfs", o="size=64k,mode=0700")
        host = {"Binds": ["ram:/ram"]}
        data = str(self.rig.layout.volume("ram") / "_data")
        for name in ("one", "two"):
            await self.rig.create("sleep", "60", name=name, host=host)
            await self.rig.job("ContainerStart", name)
        self.assertEqual(mounted(data), [data])
        show = ("sh", "-c", "mount | grep ' /ram '")
        self.assertIn("size=64k,mode=700", await self.rig.run(*show, name="three", host=host))
        await self.rig.job("ContainerDelete", "one", query="force=1")
        self.assertEqual(mounted(data), [data])
        await self.rig.job("ContainerDelete", "two", query="force=1")
        self.assertEqual(mounted(data), [])

    async def test_what_hangs_elsewhere_holds_up_no_volume_and_the_other_way(self) -> None:
        options = {"type": "tmpfs", "device": "tmpfs"}
        await self.rig.job("VolumeCreate", body={"Name": "ram", "DriverOpts": options})
        release = threading.Event()
        self.addCleanup(release.set)
        hung = [in_thread(release.wait) for _ in range(LIMIT)]
        await self.rig.volumes.attach("ram", "one")
        await self.rig.volumes.detach("ram", "one")
        self.assertEqual(mounted("ram/_data"), [])
        release.set()
        await gatherResults(hung)

        release.clear()
        self.patch(driver, "detach", lambda *_: release.wait())
        unmounting = []
        for number in range(LIMIT):
            body = {"Name": f"ram{number}", "DriverOpts": options}
            await self.rig.job("VolumeCreate", body=body)
            self.rig.volumes._attacher._holders[f"ram{number}"] = {"one"}
            detaching = self.rig.volumes.detach(f"ram{number}", "one")
            unmounting.append(Deferred.fromCoroutine(detaching))
        self.assertEqual(await in_thread(os.getpid), os.getpid())
        release.set()
        await gatherResults(unmounting)

    async def test_a_directory_of_the_host_survives_the_volume(self) -> None:
        source = self.rig.base / "source"
        source.mkdir()
        (source / "f").write_text("host\n")
        await self.create("host", type="none", device=str(source), o="bind,ro")
        script = "cat /h/f; touch /h/new"
        output = await self.rig.run("sh", "-c", script, name="one", host={"Binds": ["host:/h"]})
        self.assertIn("host\n", output)
        self.assertIn("Read-only file system", output)
        await self.rig.job("VolumeDelete", "host")
        self.assertEqual(os.listdir(source), ["f"])

    async def test_what_cannot_be_mounted(self) -> None:
        missing = self.rig.base / "missing"
        await self.create("bad", type="none", device=str(missing), o="bind")
        await self.rig.create("true", name="one", host={"Binds": ["bad:/b"]})
        words = await self.refused(EngineError, "ContainerStart", "one")
        data = self.rig.layout.volume("bad") / "_data"
        self.assertEqual(
            words,
            f"error while mounting volume '{data}': failed to mount local volume: "
            f"mount {missing}:{data}, flags: 0x1000: no such file or directory",
        )
        await self.create("far", type="nfs", device=":/x", o="addr=no-such-host.invalid")
        await self.rig.create("true", name="two", host={"Binds": ["far:/b"]})
        words = await self.refused(EngineError, "ContainerStart", "two")
        self.assertIn("error resolving passed in network volume address", words)

    async def test_parts_of_a_volume(self) -> None:
        await self.rig.job("VolumeCreate", body={"Name": "vol"})
        data = self.rig.layout.volume("vol") / "_data"
        (data / "a").mkdir()
        (data / "a" / "f").write_text("part\n")
        (data / "out").symlink_to("/etc")

        def part(subpath: str) -> dict[str, Any]:
            options = {"Subpath": subpath}
            mount = {"Type": "volume", "Source": "vol", "Target": "/p", "VolumeOptions": options}
            return {"Mounts": [mount]}

        self.assertEqual(await self.rig.run("cat", "/p/f", name="one", host=part("a")), "part\n")
        self.assertEqual(await self.rig.run("cat", "/p", name="two", host=part("a/f")), "part\n")
        for subpath, words in (("out", "escapes the base directory"), ("nosuch", "no such file")):
            await self.rig.create("true", name=subpath, host=part(subpath))
            self.assertIn(words, await self.refused(EngineError, "ContainerStart", subpath))

    async def test_a_part_of_a_volume_is_filled(self) -> None:
        await self.rig.job("VolumeCreate", body={"Name": "vol"})
        data = self.rig.layout.volume("vol") / "_data"
        for name in ("empty", "full"):
            (data / name).mkdir()
        (data / "full" / "f").touch()
        (data / "out").symlink_to("/etc")

        async def create(subpath: str) -> None:
            options = {"Subpath": subpath}
            mount = {"Type": "volume", "Source": "vol", "Target": "/bin", "VolumeOptions": options}
            await self.rig.create("true", name=f"of-{subpath}", host={"Mounts": [mount]})

        for subpath in ("empty", "full", "nosuch"):
            await create(subpath)
        self.assertIn("busybox", os.listdir(data / "empty"))
        self.assertEqual(os.listdir(data / "full"), ["f"])
        self.assertEqual(sorted(os.listdir(data)), ["empty", "full", "out"])
        with self.assertRaises(InvalidParameter) as refused:
            await create("out")
        self.assertEqual(
            refused.exception.message,
            "failed to populate volume: path concatenation escapes the base directory, "
            f"base: {data}, subpath: out",
        )
        self.assertEqual([path for path in mounted(str(self.rig.base)) if "/mounts" in path], [])


class RestartTests(VolumeCase):
    async def test_a_new_server_takes_volumes_up(self) -> None:
        await self.rig.job(
            "VolumeCreate",
            body={"Name": "ram", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}},
        )
        host = {"Binds": ["ram:/ram", "plain:/plain", "/anonymous"]}
        await self.rig.create("sleep", "60", name="one", host=host)
        await self.rig.job("ContainerStart", "one")
        before = await self.mounts("one")
        await self.rig.stop()
        await self.rig.start()
        self.assertEqual(await self.mounts("one"), before)
        await self.refused(Conflict, "VolumeDelete", "plain")
        data = str(self.rig.layout.volume("ram") / "_data")
        self.assertEqual(mounted(data), [data])
        await self.rig.job("ContainerDelete", "one", query="force=1&v=1")
        self.assertEqual(mounted(data), [])
        self.assertEqual(await self.names(), ["plain", "ram"])

    async def test_what_a_killed_server_had_begun(self) -> None:
        await self.rig.stop()
        for name in ("begun", "foreign"):
            (self.rig.layout.volumes / name / "_data").mkdir(parents=True)
        (self.rig.layout.volumes / "foreign" / "_data" / "f").write_text("precious")
        await self.rig.start()
        self.assertEqual(os.listdir(self.rig.layout.volumes), ["foreign"])
        self.assertEqual(await self.names(), [])


class BindTests(VolumeCase):
    async def setUp(self) -> None:
        await super().setUp()
        # Mounted after the runtime's namespace was made, which would not see it.
        self.source = self.rig.base / "source"
        (self.source / "inner").mkdir(parents=True)
        mount("tmpfs", self.source, "tmpfs")
        (self.source / "inner").mkdir()
        mount("tmpfs", self.source / "inner", "tmpfs")
        (self.source / "inner" / "f").write_text("inner\n")
        self.addCleanup(self.unmount)

    def unmount(self) -> None:
        left = mounted(str(self.source))
        umount(self.source, UnmountFlag.DETACH)
        self.assertEqual(left, [str(self.source), str(self.source / "inner")])

    def bind(self, *, read_only: bool = False, **options: Any) -> dict[str, Any]:
        bind = {"Type": "bind", "Source": str(self.source), "Target": "/b", "ReadOnly": read_only}
        return {"Mounts": [{**bind, "BindOptions": options}]}

    async def test_what_is_mounted_inside_is_seen(self) -> None:
        script = ("sh", "-c", "cat /b/inner/f; echo new > /b/inner/g")
        output = await self.rig.run(*script, name="one", host=self.bind())
        self.assertEqual(output, "inner\n")
        self.assertEqual((self.source / "inner" / "g").read_text(), "new\n")
        output = await self.rig.run("ls", "/b/inner", name="two", host=self.bind(NonRecursive=True))
        self.assertEqual(output, "")

    async def test_read_only_with_what_is_mounted_inside(self) -> None:
        script = ("sh", "-c", "(echo x > /b/x; echo x > /b/inner/x) 2>/dev/null; ls /b /b/inner")
        host = self.bind(read_only=True)
        await self.rig.run(*script, name="one", host=host)
        self.assertFalse((self.source / "x").exists())
        self.assertFalse((self.source / "inner" / "x").exists())
        host = self.bind(read_only=True, ReadOnlyNonRecursive=True)
        await self.rig.run(*script, name="two", host=host)
        self.assertFalse((self.source / "x").exists())
        self.assertTrue((self.source / "inner" / "x").exists())

    async def test_propagation_that_the_host_does_not_allow(self) -> None:
        mount("none", self.source, "", MountFlag.PRIVATE)
        await self.rig.create("true", name="one", host=self.bind(Propagation="rshared"))
        words = await self.refused(EngineError, "ContainerStart", "one")
        path = f"path {self.source} is mounted on {self.source}"
        self.assertEqual(words, f"{path} but it is not a shared mount")
        root = str(self.rig.layout.root)
        host = {"Binds": [f"{root}:/root:rprivate"], "NetworkMode": "none"}
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host}
        words = await self.refused(InvalidParameter, "ContainerCreate", body=body)
        self.assertIn('must use either propagation mode "rslave" or "rshared"', words)

    async def test_the_host_s_mounts_reach_a_slave_and_survive_it(self) -> None:
        mount("none", self.source, "", MountFlag.SHARED)
        await self.rig.create("sleep", "60", name="one", host=self.bind(Propagation="rslave"))
        await self.rig.job("ContainerStart", "one")
        (self.source / "late").mkdir()
        mount("tmpfs", self.source / "late", "tmpfs")
        (self.source / "late" / "f").write_text("")
        pid = self.rig.containers.registry.get("one").state.pid
        self.assertTrue(Path(f"/proc/{pid}/root/b/late/f").exists())
        await self.rig.job("ContainerDelete", "one", query="force=1")
        umount(self.source / "late")
