"""What comes right after a start finds the program as far as a client of dockerd expects."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from dockerapi.local.containers.life import settling
from dockerapi.local.host.pidfd import state_of
from tests.local.containers.streams.support import Client, StreamsCase

_TRAP = ("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done")
_BUSY = ("sh", "-c", "trap 'exit 9' TERM; while :; do :; done")
_SLOW = ("sh", "-c", "i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done; sleep 100")


class SettlingTests(StreamsCase):
    async def setUp(self) -> None:
        await super().setUp()
        # For a machine on which a shell takes its time, too.
        self.patch(settling, "PATIENCE", 60.0)
        self.patch(settling, "LISTENING", 60.0)
        self.patch(settling, "_WRITING", 1.0)

    async def start(self, *command: str) -> None:
        await self.rig.create(*command, name="cx", host={"AutoRemove": True})
        await self.rig.job("ContainerStart", "cx")

    async def test_a_signal_finds_the_traps_set(self) -> None:
        for _ in range(5):
            await self.start(*_TRAP)
            waiting = await self.rig.wait("cx", "removed")
            await self.rig.job("ContainerStop", "cx", query="t=60")
            self.assertEqual(await waiting, {"StatusCode": 9})

    async def test_a_log_has_the_first_words(self) -> None:
        for _ in range(5):
            await self.start("sh", "-c", "echo first; sleep 100")
            shown = await self.read_logs("stdout=1")
            self.assertEqual(shown.frames(), {1: b"first\n"})
            waiting = await self.rig.wait("cx", "removed")
            await self.rig.job("ContainerKill", "cx")
            await waiting

    async def test_an_exec_finds_what_is_done_first(self) -> None:
        await self.start(*_SLOW)
        body = {"Cmd": ["busybox", "ps", "-o", "args"], "AttachStdout": True}
        made = await self.rig.job("ContainerExec", "cx", body=body)
        client = Client()
        await self.serve(await self.rig.job("ExecStart", made["Id"], body={}), client)
        self.assertIn(b"sleep 100\n", client.frames()[1])

    async def test_a_start_with_ports_is_answered_when_the_program_may_listen(self) -> None:
        host = {"PortBindings": {"80/tcp": [{}]}, "NetworkMode": "none"}
        await self.rig.create(*_SLOW, name="cx", host=host)
        await self.rig.job("ContainerStart", "cx")
        container = self.rig.containers.registry.get("cx")
        self.assertEqual(state_of(container.state.pid), b"S")

    async def test_one_without_ports_is_not_waited_for(self) -> None:
        await self.start(*_BUSY)
        container = self.rig.containers.registry.get("cx")
        waiting = Deferred.fromCoroutine(settling.listening(container, Clock()))
        self.assertIsNone(self.successResultOf(waiting))
        container.host_config.port_bindings = {"80/tcp": []}
        waiting = Deferred.fromCoroutine(settling.listening(container, Clock()))
        self.assertNoResult(waiting)
        waiting.cancel()
        await self.assertFailure(waiting, CancelledError)
        await self.rig.job("ContainerKill", "cx")

    async def test_a_program_that_never_waits_is_killed_at_once(self) -> None:
        # Longer than a test may take.
        self.patch(settling, "PATIENCE", 3600.0)
        await self.start(*_BUSY)
        waiting = await self.rig.wait("cx", "removed")
        await self.rig.job("ContainerKill", "cx")
        self.assertEqual(await waiting, {"StatusCode": 137})

    async def test_and_has_its_time_before_it_is_signalled(self) -> None:
        self.patch(settling, "PATIENCE", 1.5)
        await self.start(*_BUSY)
        waiting = await self.rig.wait("cx", "removed")
        await self.rig.job("ContainerStop", "cx", query="t=60")
        self.assertEqual(await waiting, {"StatusCode": 9})
