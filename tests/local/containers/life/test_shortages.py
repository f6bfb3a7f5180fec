"""Containers that run out of memory, and live on or do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from dockerapi.local.containers.runtime.resources import cgroup_support
from tests.local.containers.support import RigCase

#: Needs more and more.
GREEDY = "x=a; while true; do x=$x$x$x$x; done"
LIMITED = {"Memory": 16 * 1024 * 1024, "MemorySwap": 16 * 1024 * 1024}


class ShortageTests(RigCase):
    async def setUp(self) -> None:
        support = cgroup_support()
        if not (support.memory and support.swap):
            # Without a limit of swap the whole host would run short.
            self.skipTest("memory and swap cannot be limited here")
        await super().setUp()

    async def start(self, script: str) -> None:
        """Start a container with a script that may read lines from a pipe; see `go_on`."""
        (self.rig.images.layer / "bin" / "mkfifo").symlink_to("busybox")
        command = ("sh", "-c", f"mkfifo /tmp/pipe; {script}")
        await self.rig.create(*command, name="cx", host=LIMITED)
        await self.rig.job("ContainerStart", "cx")
        self.root = Path(f"/proc/{self.rig.containers.registry.get('cx').state.pid}/root")

    async def go_on(self) -> None:
        """Write a line for the script, once it waits for one."""
        while True:
            try:
                pipe = os.open(self.root / "tmp" / "pipe", os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                await deferLater(reactor, 0.02)
                continue
            os.write(pipe, b"now\n")
            os.close(pipe)
            return

    async def told(self, count: int, action: str = "oom") -> None:
        """Return when `action` has been told of that often."""
        while self.rig.actions().count(action) < count:
            await deferLater(reactor, 0.02)

    async def state(self) -> Any:
        return (await self.rig.job("ContainerInspect", "cx"))["State"]

    async def test_one_that_lives_on(self) -> None:
        # What is killed is the greedy one, and another after each line.
        await self.start(f"while true; do sh -c '{GREEDY}'; read line < /tmp/pipe; done")
        await self.told(1)
        state = await self.state()
        self.assertEqual((state["Running"], state["OOMKilled"]), (True, True))
        await self.go_on()
        await self.told(2)
        self.assertTrue((await self.state())["Running"])
        await self.rig.job("ContainerKill", "cx")
        await self.told(1, "die")
        # Its end was none of that.
        self.assertEqual(self.rig.actions()[-1], "die")
        state = await self.state()
        self.assertEqual((state["OOMKilled"], state["ExitCode"]), (True, 137))

    async def test_one_that_ends_by_it(self) -> None:
        await self.rig.create("sh", "-c", GREEDY, name="cx", host=LIMITED)
        await self.rig.job("ContainerStart", "cx")
        await self.told(1, "die")
        self.assertEqual(self.rig.actions()[-2:], ["oom", "die"])
        state = await self.state()
        self.assertEqual((state["OOMKilled"], state["ExitCode"]), (True, 137))

    async def test_what_happened_while_no_server_ran(self) -> None:
        await self.start(f"read line < /tmp/pipe; sh -c '{GREEDY}'; mkdir /tmp/after; sleep 100")
        await self.rig.stop()
        await self.go_on()
        while not (self.root / "tmp" / "after").exists():
            await deferLater(reactor, 0.02)
        await self.rig.start()
        await self.told(1)
        state = await self.state()
        self.assertEqual((state["Running"], state["OOMKilled"]), (True, True))
