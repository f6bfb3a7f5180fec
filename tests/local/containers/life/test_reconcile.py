"""Taking up what a server left that died between two steps of its work."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from dockerapi.engine.engine import Engine
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.foundation import Foundation
from dockerapi.local.containers.life.cleaning import Cleaner
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.runtime.conmon import Watch
from tests.local.containers.support import RigCase

_FORGOTTEN = (
    "UPDATE containers SET status = 'created', pid = 0, start_time = 0, started = 0, exit_code = 0"
)


class _Killed(Exception):
    """The server ends here."""


class _Death(Observer):
    """Has the server end right before it lets a process go.

    :ivar pids: the process that it made, and its monitor; None while it shall live.
    """

    pids: list[int] | None = None

    def before_start(self, container: Container, watch: Watch) -> None:
        if self.pids is not None:
            files = (watch.pid_file, watch.conmon_pid_file)
            self.pids += [int(file.read_text()) for file in files]
            raise _Killed


class ReconcileTests(RigCase):
    def observers(self, engine: Engine, foundation: Foundation) -> Sequence[Observer]:
        self.death = _Death()
        return (self.death,)

    def forget(self, statement: str = _FORGOTTEN) -> None:
        """Make the database one that was not told of the last start."""
        connection = sqlite3.connect(self.rig.layout.database)
        with connection:
            connection.execute(statement)
        connection.close()

    async def state(self, name: str) -> dict[str, object]:
        return dict((await self.rig.job("ContainerInspect", name))["State"])

    async def test_a_start_that_was_not_written_down(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        before = await self.state("cx")
        await self.rig.stop()
        self.forget()
        await self.rig.start()
        after = await self.state("cx")
        self.assertEqual((after["Status"], after["Pid"]), ("running", before["Pid"]))
        self.assertEqual(str(after["StartedAt"])[:16], str(before["StartedAt"])[:16])

    async def test_a_row_without_an_id_keeps_no_other_from_being_taken_up(self) -> None:
        for name in ("cx", "cy"):
            await self.rig.create("sleep", "100", name=name, host={"NetworkMode": "bridge"})
            await self.rig.job("ContainerStart", name)
        before = await self.state("cy")
        await self.rig.stop()
        self.forget("UPDATE containers SET id = 'junk' WHERE name = 'cx'")
        await self.rig.start()
        self.assertEqual((await self.state("cy"))["Pid"], before["Pid"])
        self.assertEqual([one.name for one in self.rig.containers.registry], ["cy"])
        await self.rig.create("true", name="cz", host={"NetworkMode": "bridge"})
        await self.rig.job("ContainerStart", "cz")

    async def test_a_container_of_another_runtime_than_the_servers(self) -> None:
        other = "crun" if self.rig.containers.runtime == "runc" else "runc"
        made = await self.rig.create("sleep", "100", name="cx", host={"Runtime": other})
        await self.rig.job("ContainerStart", "cx")
        await self.rig.stop()
        await self.rig.start()
        runtime = self.rig.containers.toolbox.require().runtime_of(made["Id"])
        self.assertEqual(runtime.name, other)
        # An exec finds its cgroups, whichever of them the default is not to see.
        await runtime.check("exec", made["Id"], "true")

    async def test_a_start_that_was_not_written_down_and_has_ended(self) -> None:
        for name, auto_remove in (("stays", False), ("goes", True)):
            host = {"AutoRemove": auto_remove}
            script = "while ! [ -e /tmp/go ]; do sleep 0.02; done; exit 7"
            await self.rig.create("sh", "-c", script, name=name, host=host)
            await self.rig.job("ContainerStart", name)
        containers = list(self.rig.containers.registry)
        await self.rig.stop()
        self.forget()
        for one in containers:
            Path(f"/proc/{one.state.pid}/root/tmp/go").touch()
        exits = [self.rig.layout.container_run(one.id) / "exits" / one.id for one in containers]
        while not all(path.exists() for path in exits):
            await deferLater(reactor, 0.02)
        await self.rig.start()
        state = await self.state("stays")
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 7))
        self.assertEqual([one.name for one in self.rig.containers.registry], ["stays"])
        # Once is enough: the next server has nothing to account for.
        told = self.rig.actions().count("die")
        await self.rig.stop()
        await self.rig.start()
        self.assertEqual(told, 2)
        self.assertEqual(self.rig.actions().count("die"), 0)
        self.assertEqual(await self.state("stays"), state)

    async def test_a_container_that_was_made_and_not_let_go(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        before = await self.state("cx")
        pids: list[int] = []
        self.death.pids = pids

        async def leave(*_: object, **__: object) -> None:
            raise _Killed

        self.patch(Cleaner, "after_end", leave)
        await self.assertFailure(
            Deferred.fromCoroutine(self.rig.job("ContainerStart", "cx")), _Killed
        )
        self.assertTrue(all(map(_runs, pids)))
        for _ in range(2):
            await self.rig.stop()
            await self.rig.start()
            self.assertFalse(any(map(_runs, pids)))
            self.assertEqual(await self.state("cx"), before)

    async def test_a_monitor_without_a_container(self) -> None:
        """A conmon whose runtime is still at work: it is ended before it can make anything."""
        await self.rig.create("true", name="cx")
        identity = self.rig.containers.registry.get("cx").id
        bundle = str(self.rig.layout.container_run(identity))
        conmon = subprocess.Popen(
            ("sh", "-c", "read -r line", "conmon", "--bundle", bundle), stdin=subprocess.PIPE
        )
        assert conmon.stdin is not None
        self.addCleanup(conmon.wait)
        self.addCleanup(conmon.stdin.close)
        await self.rig.stop()
        await self.rig.start()
        self.assertEqual(conmon.wait(60), -signal.SIGKILL)


def _runs(pid: int) -> bool:
    """Tell whether a process has not ended; one that nobody waited for has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
