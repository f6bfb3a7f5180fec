"""Containers that share namespaces, and limits of all kinds, in real containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter
from tests.local.containers.support import RigCase

CGROUPS = Path("/sys/fs/cgroup")


class SharingCase(RigCase):
    async def refused(self, host: dict[str, Any], *, at_start: bool = False) -> tuple[type, str]:
        try:
            made = await self.rig.create("true", host=host)
            if at_start:
                await self.rig.job("ContainerStart", made["Id"])
        except EngineError as error:
            return type(error), error.message
        raise self.failureException(f"{host} was not refused")

    async def start(self, name: str, *command: str, **host: Any) -> str:
        made = await self.rig.create(*(command or ("sleep", "1000")), name=name, host=host)
        await self.rig.job("ContainerStart", name)
        return str(made["Id"])


class NamespaceTests(SharingCase):
    async def test_the_processes_of_another(self) -> None:
        await self.start("first")
        output = await self.rig.run(
            "sh", "-c", "cat /proc/1/cmdline; echo @$$", host={"PidMode": "container:first"}
        )
        command, _, number = output.replace("\0", " ").partition("@")
        self.assertEqual(command.strip(), "sleep 1000")
        self.assertGreater(int(number), 1)

    async def test_what_runs_beside_another_ends_whole(self) -> None:
        await self.start("first")
        await self.start("second", "sh", "-c", "sleep 998 & sleep 999", PidMode="container:first")
        await self.rig.job("ContainerKill", "second")
        rows = (await self.rig.job("ContainerTop", "first"))["Processes"]
        self.assertEqual(len(rows), 1)

    async def test_the_shared_memory_of_another(self) -> None:
        await self.start(
            *("giver", "sh", "-c", "echo given > /dev/shm/word; sleep 1000"), IpcMode="shareable"
        )
        script = "while ! cat /dev/shm/word 2>/dev/null; do :; done"
        output = await self.rig.run("sh", "-c", script, host={"IpcMode": "container:giver"})
        self.assertEqual(output, "given\n")
        shm = self.rig.containers.places.directories(self.rig.containers.registry.get("giver")).shm
        self.assertTrue(shm.is_mount())
        await self.rig.job("ContainerKill", "giver")
        async with self.rig.containers.registry.get("giver").lock:
            self.assertFalse(shm.is_mount())

    async def test_the_mode_names_an_id_afterwards(self) -> None:
        identity = await self.start("first")
        made = await self.rig.create("true", host={"PidMode": f"container:{identity[:12]}"})
        document = await self.rig.job("ContainerInspect", made["Id"])
        self.assertEqual(document["HostConfig"]["PidMode"], f"container:{identity}")

    async def test_what_cannot_be_joined(self) -> None:
        self.assertEqual(
            await self.refused({"PidMode": "container:nosuch"}),
            (InvalidParameter, "No such container: nosuch"),
        )
        made = (await self.rig.create("true", name="idle"))["Id"]
        self.assertEqual(
            await self.refused({"PidMode": "container:idle"}, at_start=True),
            (EngineError, f"failed to join PID namespace: container {made} is not running"),
        )
        self.assertEqual(
            await self.refused({"IpcMode": "container:idle"}, at_start=True),
            (Conflict, f"failed to join IPC namespace: container {made} is not running"),
        )
        private = await self.start("private")
        kind, text = await self.refused({"IpcMode": "container:private"}, at_start=True)
        self.assertIs(kind, EngineError)
        self.assertIn(f"cannot join IPC of container {private}: non-shareable IPC", text)
        for field, title in (("PidMode", "PID"), ("IpcMode", "IPC"), ("UTSMode", "UTS")):
            self.assertEqual(
                await self.refused({field: "odd"}), (InvalidParameter, f"invalid {title} mode: odd")
            )
            self.assertIs((await self.refused({field: "container:"}))[0], InvalidParameter)


class LimitTests(SharingCase):
    async def test_a_parent_of_ones_own(self) -> None:
        identity = await self.start("nested", CgroupParent="/da-test/../da-test/deep")
        pid = self.rig.containers.registry.get("nested").state.pid
        self.assertIn(f"/da-test/deep/{identity}", Path(f"/proc/{pid}/cgroup").read_text())
        self.assertEqual(len((await self.rig.job("ContainerTop", "nested"))["Processes"]), 1)
        await self.rig.job("ContainerDelete", "nested", query="force=1")
        self.assertEqual(list(CGROUPS.glob(f"*/da-test/deep/{identity}")), [])
        # The parent is its maker's, as under dockerd.
        for path in (*CGROUPS.glob("*/da-test/deep"), *CGROUPS.glob("*/da-test")):
            path.rmdir()

    async def test_annotations_reach_the_runtime(self) -> None:
        identity = await self.start("noted", Annotations={"com.example.note": "kept"})
        config = (self.rig.layout.container_run(identity) / "config.json").read_text()
        self.assertIn('"com.example.note":"kept"', config)

    async def test_swappiness(self) -> None:
        identity = await self.start("swapping", MemorySwappiness=7)
        found = list(CGROUPS.glob(f"memory/dockerapi/{identity}/memory.swappiness"))
        for file in found:
            self.assertEqual(file.read_text(), "7\n")

    async def test_what_can_never_be(self) -> None:
        for host, text in (
            ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
            (
                {"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 1001}]},
                "Range of blkio weight is from 10 to 1000",
            ),
            (
                {"MemorySwappiness": 101},
                "Invalid value: 101, valid memory swappiness range is 0-100",
            ),
            (
                {"CpusetCpus": "0-4095"},
                "Requested CPUs are not available - requested 0-4095, available: ",
            ),
            ({"CpuShares": -1}, "invalid CPU shares (-1): value must be a positive integer"),
            ({"MemoryReservation": 1024}, "Minimum memory reservation allowed is 6MB"),
            ({"CpusetCpus": "1-"}, "Invalid value 1- for cpuset cpus: invalid format: 1-"),
            ({"CpusetMems": "x"}, "Invalid value x for cpuset mems: invalid format: x"),
            (
                {"StorageOpt": {"size": "1G"}},
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
            ),
        ):
            kind, message = await self.refused(host)
            self.assertIs(kind, InvalidParameter)
            self.assertTrue(message.startswith(text), message)

    async def test_a_device_that_is_not_there(self) -> None:
        rates = [{"Path": "/dev/nosuch", "Rate": 1024}]
        self.assertEqual(
            await self.refused({"BlkioDeviceReadBps": rates}, at_start=True),
            (EngineError, "stat /dev/nosuch: no such file or directory"),
        )
