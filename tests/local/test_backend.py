"""The embedded engine's parts: all are stopped, whatever comes of one of them."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import skipIf

import msgspec
from msgspec import structs
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError
from dockerapi.local.backend import LocalBackend, LocalSettings
from dockerapi.local.host.overlay import mount_overlay
from dockerapi.local.host.syscalls import umount
from tests.integration.server import missing

_MISSING = missing()


@skipIf(_MISSING, _MISSING)
class StopTests(TestCase):
    def setUp(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="dockerapi-backend-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.settings = LocalSettings(str(self.root / "data"), str(self.root / "run"))

    def backend(self) -> LocalBackend:
        return LocalBackend(self.settings, Engine(logging=False), reactor)

    async def told(self) -> dict[str, Any]:
        """Return what SystemInfo answers."""
        engine = Engine(logging=False)
        backend = LocalBackend(self.settings, engine, reactor)
        backend.register(engine)
        await backend.start()
        engine.activation.activate()
        answer = await engine.job("SystemInfo").run()
        await backend.stop()
        found: dict[str, Any] = msgspec.to_builtins(answer)
        return found

    async def test_the_further_runtimes_are_told(self) -> None:
        self.settings = structs.replace(self.settings, runtimes=("oci=runc", "vm=/opt/vm"))
        found = (await self.told())["Runtimes"]
        self.assertEqual((found["oci"], found["vm"]), ({"path": "runc"}, {"path": "/opt/vm"}))
        self.assertTrue({"runc", "crun"}.intersection(found))

    async def test_mirrors_are_told_as_addresses_of_directories(self) -> None:
        self.settings = structs.replace(self.settings, registry_mirrors=("https://m", "http://n/"))
        registries = (await self.told())["RegistryConfig"]
        self.assertEqual(registries["Mirrors"], ["https://m/", "http://n/"])
        self.assertEqual(registries["IndexConfigs"]["docker.io"]["Mirrors"], registries["Mirrors"])

    async def test_a_start_that_fails_half_way(self) -> None:
        (self.root / "data").mkdir()
        with closing(sqlite3.connect(self.root / "data" / "state.db")) as connection:
            connection.execute("PRAGMA user_version = 9999")
        for _ in range(2):
            # The second finds the roots free again.
            backend = self.backend()
            with self.assertRaises(EngineError) as raised:
                await backend.start()
            self.assertIn("newer", raised.exception.message)
            await backend.stop()

    async def test_a_data_root_on_which_no_container_can_be_kept(self) -> None:
        """The root of a container, where a server may run, is an overlay."""
        outer = [self.root / name for name in ("lower", "upper", "work", "data")]
        for path in outer:
            path.mkdir()
        lower, upper, work, target = outer
        mount_overlay(target, [lower], upper, work)
        self.addCleanup(umount, target)
        backend = self.backend()
        with self.assertRaises(EngineError) as raised:
            await backend.start()
        self.assertIn("choose another with --data-root", raised.exception.message)
        await backend.stop()

    async def test_a_part_that_does_not_stop_well(self) -> None:
        async def fail() -> None:
            raise EngineError("the registry is on fire")

        backend = self.backend()
        self.patch(backend._images, "stop", fail)
        await backend.start()
        with self.assertRaises(EngineError):
            await backend.stop()
        # The roots are free, and nothing is stopped twice.
        await backend.stop()
        again = self.backend()
        await again.start()
        await again.stop()
