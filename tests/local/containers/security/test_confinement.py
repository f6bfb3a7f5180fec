"""What a process in a default container can do to its host: tried from inside, by each runtime."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest

from dockerapi.local.containers.security.paths import masked, readonly
from tests.local.containers.security import probe
from tests.local.containers.support import RigCase


class ConfinementTests(RigCase):
    """With the runtime that is chosen; the host's Python is bound into the container."""

    async def setUp(self) -> None:
        await super().setUp()
        python = os.path.realpath(sys.executable)
        places = {"/usr", "/lib", "/lib64", os.path.realpath(sys.base_prefix)}
        self.binds = [f"{place}:{place}:ro" for place in sorted(places) if os.path.exists(place)]
        self.binds.append(f"{probe.__file__}:/probe.py:ro")
        self.python = python

    async def ask(self, host: Any = None, user: str = "", **questions: Any) -> dict[str, Any]:
        """Return the answers of the probe in a container."""
        host = {**(host or {}), "Binds": self.binds}
        output = await self.rig.run(
            self.python, "-I", "/probe.py", json.dumps(questions), host=host, User=user
        )
        try:
            answers: dict[str, Any] = json.loads(output)
        except ValueError:
            raise self.failureException(output) from None
        return answers

    async def test_system_calls(self) -> None:
        if platform.machine() != "x86_64":
            raise SkipTest("the numbers are those of x86-64")
        self.assertEqual((await self.ask(calls=[]))["calls"], [])
        self.assertEqual((await self.ask(calls=[], user="1000"))["calls"], [])
        # That they can fail: without a filter they do.
        host = {"SecurityOpt": ["seccomp=unconfined"], "CapAdd": ["SYS_ADMIN"]}
        found = (await self.ask(host, calls=[]))["calls"]
        self.assertIn("clone3", found)
        self.assertIn("keyctl", found)

    async def test_paths(self) -> None:
        system = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/irq", "/sys"]
        system += ["/proc/sys/kernel/hostname", "/sys/kernel"]
        answers = await self.ask(
            masked=[list(masked())], writable=[[*readonly(), *system]], cgroups=[]
        )
        self.assertEqual(answers, {"masked": [], "writable": [], "cgroups": []})

    async def test_devices(self) -> None:
        disks = [
            os.stat(path).st_rdev
            for path in Path("/dev").iterdir()
            if not path.is_symlink() and path.is_block_device()
        ]
        numbers = [("b", os.major(disk), os.minor(disk)) for disk in disks]
        # mem, port, kmsg, tty0, loop-control, fuse, kvm; runc of itself allows tun to everybody.
        for major, minor in ((1, 1), (1, 4), (1, 11), (4, 0), (10, 237), (10, 229), (10, 232)):
            numbers.append(("c", major, minor))
        self.assertEqual((await self.ask(devices=[numbers]))["devices"], [])
        allowed = await self.ask({"DeviceCgroupRules": ["c 1:11 r"]}, devices=[[("c", 1, 11)]])
        self.assertIn(allowed["devices"], ([], ["c 1:11"]))
        if os.path.exists("/dev/fuse"):
            device = {"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse"}
            given = await self.ask({"Devices": [device]}, devices=[[("c", 10, 229)]])
            self.assertEqual(given["devices"], ["c 10:229"])

    async def test_namespaces(self) -> None:
        answers = await self.ask(namespaces=[], processes=[], root=[])
        mine = probe.namespaces()
        shared = {kind for kind, name in answers["namespaces"].items() if mine[kind] == name}
        # As dockerd's: the user namespace is, and that of cgroups where they are of version 1.
        self.assertLessEqual(shared, {"user", "cgroup"})
        self.assertEqual(answers["processes"], ["1"])
        self.assertIn("probe.py", answers["root"])

    async def test_capabilities_and_privileges(self) -> None:
        for host, user, effective, bounding in (
            ({}, "", "a80425fb", "a80425fb"),
            ({}, "1000", "0", "a80425fb"),
            ({"CapDrop": ["ALL"]}, "", "0", "0"),
            ({"CapAdd": ["NET_ADMIN"], "CapDrop": ["CHOWN"]}, "", "a80435fa", "a80435fa"),
        ):
            status = await self.rig.run("cat", "/proc/self/status", host=host, User=user)
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            for name, mask in (("CapEff", effective), ("CapPrm", effective), ("CapBnd", bounding)):
                self.assertEqual(int(fields[name], 16), int(mask, 16), (host, user, name))
            for name in ("CapInh", "CapAmb"):
                self.assertEqual(int(fields[name], 16), 0, (host, user, name))
            self.assertEqual((fields["Seccomp"], fields["NoNewPrivs"]), ("2", "0"))
        host = {"SecurityOpt": ["no-new-privileges"]}
        self.assertIn("NoNewPrivs:\t1", await self.rig.run("cat", "/proc/self/status", host=host))

    async def test_nothing_mounted_comes_back(self) -> None:
        source = self.rig.base / "source"
        source.mkdir()
        before = Path("/proc/self/mountinfo").read_text().count(str(source))
        options = ["apparmor=unconfined"]
        host = {"Binds": [f"{source}:/m"], "CapAdd": ["SYS_ADMIN"], "SecurityOpt": options}
        output = await self.rig.run("sh", "-c", "mount -t tmpfs x /m && echo mounted", host=host)
        self.assertEqual(output, "mounted\n")
        after = Path("/proc/self/mountinfo").read_text().count(str(source))
        self.assertEqual(after, before)


class RuncConfinementTests(ConfinementTests):
    """With runc."""

    runtime = "runc"
