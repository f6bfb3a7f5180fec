"""What containers use, read from real cgroups, and limits that change while they run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.answers import Stream
from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter
from dockerapi.local.containers.runtime.resources import cgroup_support
from dockerapi.local.containers.stats import cgroups
from dockerapi.local.containers.stats.operation import INTERVAL, Stats
from dockerapi.local.containers.stats.sample import sample
from dockerapi.model.malformed import Malformed
from tests.local.containers.streams.support import until
from tests.local.containers.support import Collected, RigCase
from tests.serving import serve

MEBIBYTE = 1024 * 1024
#: A cgroup of the one that limits processes, as a container sees it, in either version.
_BENEATH = "/sys/fs/cgroup/beneath" if cgroup_support().unified else "/sys/fs/cgroup/pids/beneath"


class UnifiedTests(SynchronousTestCase):
    """Version 2, from files as the kernel's document shows them."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.path / name.replace("_", ".", 1)).write_text(text)

    def test_numbers(self) -> None:
        self.write(
            cpu_stat="usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 7\nnr_throttled 1\n"
            "throttled_usec 9\n",
            memory_current="4096\n",
            memory_max="max\n",
            memory_stat="anon 10\nfile 20\nworkingset_refault_anon 4\n",
            memory_events="low 0\noom 2\noom_kill 1\n",
            io_stat="8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n",
            pids_current="3\n",
            pids_max="max\n",
        )
        usage = cgroups._read_unified(self.path, 1 << 30)
        self.assertEqual(
            usage.cpu,
            {
                "cpu_usage": {
                    "total_usage": 5000,
                    "usage_in_kernelmode": 2000,
                    "usage_in_usermode": 3000,
                },
                "throttling_data": {
                    "periods": 7,
                    "throttled_periods": 1,
                    "throttled_time": 9000,
                },
            },
        )
        self.assertEqual(
            {name: value for name, value in usage.memory.items() if name != "stats"},
            {"usage": 4096, "failcnt": 2, "limit": 1 << 30},
        )
        stats = usage.memory["stats"]
        self.assertEqual((stats["anon"], stats["file"], stats["workingset_refault"]), (10, 20, 0))
        self.assertEqual(len(stats), 31)
        self.assertEqual(usage.pids, {"current": 3, "limit": 2**64 - 1})
        self.assertEqual(
            usage.blocks["io_service_bytes_recursive"],
            [
                {"major": 8, "minor": 0, "op": "read", "value": 1},
                {"major": 8, "minor": 0, "op": "write", "value": 2},
            ],
        )

    def test_what_is_not_there_is_left_out(self) -> None:
        usage = cgroups._read_unified(self.path, 1 << 30)
        self.assertEqual((usage.memory, usage.pids), ({}, {}))
        self.assertIsNone(usage.blocks["io_service_bytes_recursive"])


class SampleTests(SynchronousTestCase):
    def test_a_process_that_is_gone(self) -> None:
        document = sample("a" * 64, "box", 4194303, network=True, before=None)
        self.assertEqual(document["read"], "0001-01-01T00:00:00Z")
        self.assertNotIn("networks", document)
        self.assertEqual(document["cpu_stats"]["cpu_usage"]["total_usage"], 0)


class StatsTests(RigCase):
    async def test_one_shot(self) -> None:
        await self.rig.create(
            *("sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000"),
            name="busy",
            host={"NetworkMode": "bridge", "Memory": 64 * MEBIBYTE, "PidsLimit": 7},
        )
        await self.rig.job("ContainerStart", "busy")
        await deferLater(reactor, 0.5)
        document = await self.stats("busy", "stream=0&one-shot=1")
        self.assertEqual(document["name"], "/busy")
        self.assertEqual(document["pids_stats"], {"current": 1, "limit": 7})
        self.assertEqual(document["memory_stats"]["limit"], 64 * MEBIBYTE)
        self.assertGreater(document["memory_stats"]["usage"], 0)
        self.assertGreater(document["cpu_stats"]["cpu_usage"]["total_usage"], 1_000_000)
        self.assertEqual(document["cpu_stats"]["online_cpus"], os.cpu_count())
        self.assertIn("eth0", document["networks"])
        self.assertNotIn("system_cpu_usage", document["precpu_stats"])

    async def test_two_samples_make_a_rate(self) -> None:
        await self.rig.create("sh", "-c", "while :; do :; done", name="loop")
        await self.rig.job("ContainerStart", "loop")
        document = await self.stats("loop", "stream=0")
        now, before = document["cpu_stats"], document["precpu_stats"]
        used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
        passed = now["system_cpu_usage"] - before["system_cpu_usage"]
        self.assertGreater(used, 0)
        self.assertGreater(passed, 10**9)
        self.assertNotIn("networks", document)

    async def test_a_first_process_that_went_beneath(self) -> None:
        """An init system moves itself; what the whole container uses and may use is told still."""
        await self.rig.create(
            *("sh", "-c", f"mkdir {_BENEATH} && echo 1 > {_BENEATH}/cgroup.procs; exec sleep 1000"),
            name="init",
            host={"Privileged": True, "CgroupnsMode": "private", "PidsLimit": 7},
        )
        await self.rig.job("ContainerStart", "init")
        container = self.rig.containers.registry.get("init")
        own = Path(f"/proc/{container.state.pid}/cgroup")
        await until(lambda: "beneath" in own.read_text())
        document = await self.stats("init", "stream=0&one-shot=1")
        self.assertEqual(document["pids_stats"]["limit"], 7)
        await self.rig.job("ContainerUpdate", "init", body={"PidsLimit": 9})
        document = await self.stats("init", "stream=0&one-shot=1")
        self.assertEqual(document["pids_stats"]["limit"], 9)

    async def test_one_that_does_not_run(self) -> None:
        await self.rig.create("true", name="idle")
        document = await self.stats("idle", "stream=0")
        self.assertEqual(document["memory_stats"], {})
        self.assertEqual(document["pids_stats"], {})
        self.assertIsNone(document["blkio_stats"]["io_serviced_recursive"])

    async def test_a_stream_goes_on_until_the_removal(self) -> None:
        await self.rig.create("sleep", "1000", name="long")
        await self.rig.job("ContainerStart", "long")
        answer = await self.rig.job("ContainerStats", "long")
        assert isinstance(answer, Stream)
        sink = Collected()
        serving = serve(answer, sink)
        await deferLater(reactor, 1.3)
        self.assertFalse(serving.called)
        await self.rig.job("ContainerDelete", "long", query="force=1")
        await serving
        first, second, *_ = [json.loads(line) for line in sink.data.splitlines()]
        self.assertEqual(second["preread"], first["read"])
        self.assertEqual(second["precpu_stats"], first["cpu_stats"])

    async def test_a_client_that_leaves(self) -> None:
        """Sampling ends with the client, also between two samples."""
        await self.rig.create("true", name="left")
        clock, sink = Clock(), Collected()
        stats = Stats(self.rig.containers.registry, clock)
        answer = await stats.stats(self.rig.make_job("ContainerStats", "left"))
        assert isinstance(answer, Stream)
        serving = serve(answer, sink)
        for samples in (1, 2):
            while not clock.getDelayedCalls():
                await deferLater(reactor, 0.01)
            self.assertEqual(sink.data.count(b"\n"), samples)
            if samples == 1:
                clock.advance(INTERVAL)
        serving.cancel()
        await self.assertFailure(serving, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_a_stream_of_one_shot(self) -> None:
        await self.rig.create("true", name="odd")
        with self.assertRaises((Malformed, InvalidParameter)):
            await self.stats("odd", "stream=1&one-shot=1")

    async def stats(self, name: str, query: str) -> dict[str, Any]:
        return dict(await self.rig.job("ContainerStats", name, query=query))


class UpdateTests(RigCase):
    async def start(self, **host: Any) -> None:
        await self.rig.create("sleep", "1000", name="box", host=host)
        await self.rig.job("ContainerStart", "box")

    async def update(self, **changes: Any) -> Any:
        return await self.rig.job("ContainerUpdate", "box", body=changes)

    async def limits(self) -> dict[str, Any]:
        document = await self.rig.job("ContainerStats", "box", query="stream=0&one-shot=1")
        return {
            "memory": document["memory_stats"]["limit"],
            "pids": document["pids_stats"].get("limit"),
        }

    async def refused(self, **changes: Any) -> tuple[type, str]:
        try:
            await self.update(**changes)
        except EngineError as error:
            return type(error), error.message
        raise self.failureException("it was not refused")

    async def test_limits_of_one_that_runs(self) -> None:
        await self.start(Memory=64 * MEBIBYTE, PidsLimit=50)
        answer = await self.update(Memory=96 * MEBIBYTE, MemorySwap=200 * MEBIBYTE, PidsLimit=9)
        self.assertEqual(answer, {"Warnings": None})
        self.assertEqual(await self.limits(), {"memory": 96 * MEBIBYTE, "pids": 9})
        await self.update(PidsLimit=-1)
        unlimited = 2**64 - 1 if cgroup_support().unified else None
        self.assertEqual((await self.limits())["pids"], unlimited)
        host = (await self.rig.job("ContainerInspect", "box"))["HostConfig"]
        self.assertEqual((host["Memory"], host["PidsLimit"]), (96 * MEBIBYTE, 0))
        self.assertEqual(self.rig.actions()[-2:], ["update", "update"])

    async def test_no_quota_of_time(self) -> None:
        async def quota() -> str:
            pid = self.rig.containers.registry.get("box").state.pid
            paths = cgroups.cgroups_of(self.rig.containers.registry.get("box").id, pid)
            if cgroup_support().unified:
                return Path(f"/sys/fs/cgroup{paths['']}/cpu.max").read_text().split()[0]
            return Path(f"/sys/fs/cgroup/cpu{paths['cpu']}/cpu.cfs_quota_us").read_text().strip()

        unlimited = "max" if cgroup_support().unified else "-1"
        await self.start(CpuQuota=-1)
        self.assertEqual(await quota(), unlimited)
        for value, told in ((20000, "20000"), (-1, unlimited), (10000, "10000")):
            await self.update(CpuQuota=value)
            host = (await self.rig.job("ContainerInspect", "box"))["HostConfig"]
            self.assertEqual((await quota(), host["CpuQuota"]), (told, value))

    async def test_it_outlives_a_restart_of_the_server(self) -> None:
        await self.start()
        await self.update(CpuShares=512, RestartPolicy={"Name": "on-failure"})
        await self.rig.stop()
        await self.rig.start()
        host = (await self.rig.job("ContainerInspect", "box"))["HostConfig"]
        self.assertEqual(host["CpuShares"], 512)
        self.assertEqual(host["RestartPolicy"], {"Name": "on-failure", "MaximumRetryCount": 0})

    async def test_what_does_not_go_together(self) -> None:
        await self.start(NanoCpus=500_000_000, Memory=64 * MEBIBYTE, AutoRemove=True)
        identity = self.rig.containers.registry.get("box").id
        for changes, text in (
            (
                {"CpuPeriod": 50000},
                "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been "
                "set",
            ),
            (
                {"Memory": 900 * MEBIBYTE},
                "Memory limit should be smaller than already set memoryswap limit, update the "
                "memoryswap at the same time",
            ),
            (
                {"RestartPolicy": {"Name": "always"}},
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ),
        ):
            refused = await self.refused(**changes)
            self.assertEqual(refused, (Conflict, f"Cannot update container {identity}: {text}"))
        refused = await self.refused(Memory=1)
        self.assertEqual(refused, (InvalidParameter, "Minimum memory limit allowed is 6MB"))

    async def test_what_the_kernel_refuses_is_not_kept(self) -> None:
        await self.start()
        kind, text = await self.refused(CpusetCpus="0-4000")
        self.assertIn(kind, (EngineError, InvalidParameter))
        host = (await self.rig.job("ContainerInspect", "box"))["HostConfig"]
        self.assertEqual(host["CpusetCpus"], "", text)
