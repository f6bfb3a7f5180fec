"""What the engine tells of itself and its host, on hosts of every kind."""

from __future__ import annotations

import shutil
import tempfile
from typing import Any

import msgspec
from twisted.trial.unittest import TestCase

from dockerapi.engine.engine import Engine
from dockerapi.local import system
from dockerapi.local.host.probe import HostFacts, Tool, probe_host
from dockerapi.local.system import Counts, System, SystemSettings
from dockerapi.model.versions import NEWEST


class InfoTests(TestCase):
    timeout = 120

    async def info(self, *missing: str) -> dict[str, Any]:
        """Return the answer of SystemInfo where the programs `missing` are not there."""

        async def probe(*arguments: Any) -> HostFacts:
            facts = await probe_host(*arguments)
            tools = {**facts.tools, **{name: Tool(name) for name in missing}}
            return msgspec.structs.replace(facts, tools=tools)

        self.patch(system, "probe_host", probe)
        root = tempfile.mkdtemp(prefix="dockerapi-system-")
        self.addCleanup(shutil.rmtree, root)
        engine = Engine(logging=False)
        counts = Counts(running=1, paused=2, stopped=3, images=4)
        settings = SystemSettings(data_root=root, runtimes={"slow": "/opt/slow"})
        told = System(engine, settings, lambda: counts, lambda: "runc", lambda: ["no network"])
        await told.start()
        told.register(engine)
        engine.activation.activate()
        answer: Any = await engine.job("SystemInfo", version=NEWEST).run()
        return dict(answer)

    async def test_the_firewall_is_the_one_that_is_there(self) -> None:
        found = await self.info("nft")
        self.assertEqual(found["FirewallBackend"], {"Driver": "iptables"})

    async def test_runtimes_are_those_that_are_there_and_those_of_the_settings(self) -> None:
        found = await self.info("crun", "tini", "catatonit")
        self.assertNotIn("crun", found["Runtimes"])
        self.assertEqual(found["Runtimes"]["slow"], {"path": "/opt/slow"})
        self.assertEqual((found["DefaultRuntime"], found["InitBinary"]), ("runc", ""))

    async def test_what_changes_is_asked_each_time(self) -> None:
        found = await self.info()
        self.assertEqual((found["Containers"], found["ContainersPaused"]), (6, 2))
        self.assertEqual(found["Images"], 4)
        self.assertIn("WARNING: no network", found["Warnings"])
