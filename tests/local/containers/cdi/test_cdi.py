"""Devices that vendors describe, given to real containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.cdi import specs
from dockerapi.local.containers.cdi.specs import load_devices
from tests.local.containers.support import RigCase

YAML = """
cdiVersion: 0.5.0
kind: example.com/thing
containerEdits:
  env: [SHARED=yes]
devices:
- name: one
  containerEdits:
    env: [ONE=1]
    deviceNodes:
    - path: /dev/thing
      hostPath: /dev/zero
- name: two
  containerEdits:
    env: [ONE=2]
"""


class SpecTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def test_yaml_and_json(self) -> None:
        (self.directory / "a.yaml").write_text(YAML)
        document = {"cdiVersion": "0.6.0", "kind": "other.org/x", "devices": [{"name": "y"}]}
        (self.directory / "b.json").write_text(json.dumps(document))
        found = load_devices([self.directory])
        self.assertEqual(
            sorted(found), ["example.com/thing=one", "example.com/thing=two", "other.org/x=y"]
        )
        self.assertEqual(found["example.com/thing=one"].edits[0].env, ["SHARED=yes"])

    def test_what_is_broken_is_passed_over(self) -> None:
        (self.directory / "a.yaml").write_text(YAML)
        (self.directory / "b.json").write_text("{")
        (self.directory / "c.yaml").write_text("kind: 1")
        (self.directory / "d.txt").write_text(YAML.replace("one", "three"))
        self.assertEqual(len(load_devices([self.directory])), 2)

    @given(st.binary(max_size=100))
    def test_garbage(self, data: bytes) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "a.yaml").write_bytes(data)
        (directory / "b.json").write_bytes(data)
        self.assertEqual(load_devices([directory]), {})


class DeviceTests(RigCase):
    async def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "a.yaml").write_text(YAML)
        self.patch(specs, "DIRECTORIES", (directory,))
        self.patch(load_devices, "__defaults__", ((directory,),))
        await super().setUp()

    def asking(self, *names: str, driver: str = "cdi", **more: Any) -> dict[str, Any]:
        return {"DeviceRequests": [{"Driver": driver, "DeviceIDs": list(names), **more}]}

    async def test_a_device_and_what_all_share(self) -> None:
        output = await self.rig.run(
            *("sh", "-c", "echo $SHARED $ONE; dd if=/dev/thing bs=3 count=1 2>/dev/null | wc -c"),
            host=self.asking("example.com/thing=one"),
        )
        self.assertEqual(output.split(), ["yes", "1", "3"])

    async def refused(self, host: dict[str, Any]) -> str:
        made = await self.rig.create("true", host=host)
        try:
            await self.rig.job("ContainerStart", made["Id"])
        except EngineError as error:
            return error.message
        raise self.failureException("it was not refused")

    async def test_what_is_not_there(self) -> None:
        self.assertEqual(
            await self.refused(self.asking("example.com/thing=nine", "no.such/x=y")),
            "CDI device injection failed: unresolvable CDI devices "
            "example.com/thing=nine, no.such/x=y",
        )

    async def test_other_drivers(self) -> None:
        host = self.asking(driver="", Count=-1, Capabilities=[["gpu"]])
        self.assertEqual(
            await self.refused(host), 'could not select device driver "" with capabilities: [[gpu]]'
        )
