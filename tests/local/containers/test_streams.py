"""Attach, logs, resize and exec with real containers."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from dockerapi.engine.answers import Hijack, Stream
from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.attach import Attachments
from dockerapi.local.containers.execs import Execs
from dockerapi.local.containers.logs import LogReader
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import CHUNK
from dockerapi.wire.stdcopy import FrameDecoder
from tests.local.containers.support import Collected, Rig


class Client(Collected):
    """A client of a hijacked stream: sends what it is told to, keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self._input: deque[bytes] = deque()
        self._waiting: Deferred[None] | None = None
        self.stalled: Deferred[None] | None = None

    def send(self, data: bytes) -> None:
        """Send `data`; nothing is the end of the input."""
        self._input.append(data)
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    async def read(self, limit: int = CHUNK) -> bytes:
        while not self._input:
            self._waiting = Deferred()
            await self._waiting
        return self._input.popleft() if self._input[0] else b""

    async def write(self, data: bytes) -> None:
        if self.stalled is not None:
            await self.stalled
        await super().write(data)

    def frames(self) -> dict[int, bytes]:
        got: dict[int, bytes] = {}
        for stream, payload in FrameDecoder().feed(self.data):
            got[stream] = got.get(stream, b"") + payload
        return got


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await deferLater(reactor, 0.02)


class StreamsCase(TestCase):
    timeout = 30

    async def setUp(self) -> None:
        self.rig = Rig()
        await self.rig.start()
        containers, places = self.rig.containers, self.rig.containers.places
        events = self.rig.engine.events
        self.logs = LogReader(containers.registry, lambda one: places.directories(one).log, reactor)
        self.attachments = Attachments(
            containers.registry, events, reactor, places.watch, self.logs
        )
        self.execs = Execs(
            containers.registry, places, containers.toolbox, events, reactor, reactor
        )
        containers.starter.monitored = self.attachments.before_start
        containers.lifecycle.let_go = self.attachments.ended
        for part in (self.logs, self.attachments, self.execs):
            part.register(self.rig.engine)

    async def tearDown(self) -> None:
        self.attachments.stop()
        self.logs.stop()
        self.execs.stop()
        await self.rig.close()

    def serve(self, answer: Any, client: Client) -> Deferred[None]:
        self.assertIsInstance(answer, Hijack | Stream)
        return Deferred.fromCoroutine(answer.serve(client))

    async def attach(
        self, name: str, query: str = "stream=1&stdin=1&stdout=1&stderr=1"
    ) -> tuple[Client, Deferred[None]]:
        client = Client()
        return client, self.serve(await self.rig.job("ContainerAttach", name, query=query), client)

    async def begin(self, *command: str, **config: Any) -> tuple[Client, Deferred[None]]:
        """Create the container cx, attach, start it: as `docker run` does."""
        await self.rig.create(*command, name="cx", **config)
        attached = await self.attach("cx")
        await self.rig.job("ContainerStart", "cx")
        return attached

    async def read_logs(self, query: str) -> Client:
        client = Client()
        await self.serve(await self.rig.job("ContainerLogs", "cx", query=query), client)
        return client

    async def fails(self, kind: type[Exception], awaitable: Awaitable[Any]) -> str:
        try:
            await awaitable
        except kind as error:
            return str(getattr(error, "message", error))
        raise self.failureException(f"{kind.__name__} was not raised")


class AttachTests(StreamsCase):
    async def test_nothing_of_the_first_output_is_missed(self) -> None:
        client, served = await self.begin("sh", "-c", "echo out; echo err >&2")
        await served
        self.assertEqual(client.frames(), {1: b"out\n", 2: b"err\n"})

    async def test_all_of_a_long_output_arrives(self) -> None:
        client, served = await self.begin(
            "sh", "-c", "busybox dd if=/dev/zero bs=64k count=160 2>/dev/null"
        )
        await served
        self.assertEqual(len(client.frames()[1]), 160 * 65536)

    async def test_the_end_of_the_input_ends_the_containers(self) -> None:
        client, served = await self.begin("cat", OpenStdin=True, StdinOnce=True)
        data = os.urandom(300_000)
        client.send(data)
        client.send(b"")
        await served
        self.assertEqual(client.frames(), {1: data})

    async def test_a_client_that_goes_away_ends_the_input_too(self) -> None:
        _, served = await self.begin("cat", OpenStdin=True, StdinOnce=True)
        waiting = await self.rig.wait("cx")
        served.addErrback(lambda failure: failure.trap(CancelledError))
        served.cancel()
        self.assertEqual(await waiting, {"StatusCode": 0})

    async def test_clients_share_a_container(self) -> None:
        first, served = await self.begin("cat", OpenStdin=True)
        second, also = await self.attach("cx")
        first.send(b"1\n")
        second.send(b"2\n")
        await until(lambda: len(second.frames().get(1, b"")) == 4)
        also.addErrback(lambda failure: failure.trap(CancelledError))
        also.cancel()
        first.send(b"3\n")
        await until(lambda: first.data.endswith(b"3\n"))
        self.assertFalse(second.data.endswith(b"3\n"))
        await self.rig.job("ContainerKill", "cx")
        await served

    async def test_keys_leave_and_the_container_runs_on(self) -> None:
        client, served = await self.begin("cat", OpenStdin=True, Tty=True)
        client.send(b"a\x10")
        client.send(b"\x11")
        await served
        self.assertTrue(self.rig.containers.registry.get("cx").state.running)
        self.assertIn("detach", self.rig.actions())
        keys = "stream=1&stdin=1&stdout=1&detachKeys=ctrl-x,y"
        answer = await self.rig.job("ContainerAttach", "cx", query=keys)
        client = Client()
        client.send(b"\x18y")
        await self.serve(answer, client)
        self.assertTrue(self.rig.containers.registry.get("cx").state.running)

    async def test_a_terminal_is_raw_and_has_a_size(self) -> None:
        client, served = await self.begin(
            "sh", "-c", "read x; busybox stty size", OpenStdin=True, Tty=True
        )
        await self.rig.job("ContainerResize", "cx", query="h=31&w=97")
        client.send(b"\n")
        await served
        self.assertTrue(client.data.endswith(b"31 97\r\n"), client.data)
        await until(lambda: not self.rig.containers.registry.get("cx").state.running)
        message = await self.fails(Conflict, self.rig.job("ContainerResize", "cx", query="h=1&w=1"))
        self.assertTrue(message.endswith("is not running"))

    async def test_a_stalled_client_is_bounded_and_loses_nothing(self) -> None:
        await self.rig.create(
            "sh", "-c", "busybox dd if=/dev/zero bs=64k count=160 2>/dev/null", name="cx"
        )
        answer = await self.rig.job("ContainerAttach", "cx", query="stream=1&stdout=1")
        client = Client()
        client.stalled = stalled = Deferred()
        served = self.serve(answer, client)
        await self.rig.job("ContainerStart", "cx")
        await deferLater(reactor, 0.5)
        self.assertTrue(self.rig.containers.registry.get("cx").state.running)
        client.stalled = None
        stalled.callback(None)
        await served
        self.assertEqual(len(client.frames()[1]), 160 * 65536)

    async def test_input_that_nobody_reads_ends_with_its_client(self) -> None:
        client, served = await self.begin("sleep", "100", OpenStdin=True)
        for _ in range(40):
            client.send(bytes(65536))
        await deferLater(reactor, 0.3)
        other, also = await self.attach("cx")
        served.addErrback(lambda failure: failure.trap(CancelledError))
        served.cancel()
        await self.rig.job("ContainerKill", "cx")
        await also
        self.assertEqual(other.data, b"")

    async def test_removal_ends_an_attach_that_waits_for_a_start(self) -> None:
        await self.rig.create("true", name="cx", OpenStdin=True)
        client, served = await self.attach("cx")
        client.send(b"x")
        await self.rig.job("ContainerDelete", "cx")
        await served

    async def test_a_websocket_that_closes_has_left(self) -> None:
        await self.rig.create("cat", name="cx", OpenStdin=True)
        await self.rig.job("ContainerStart", "cx")
        client = Client()
        query = "stream=1&stdin=1&stdout=1"
        answer = await self.rig.job("ContainerAttachWebsocket", "cx", query=query)
        served = self.serve(answer, client)
        client.send(b"word\n")
        await until(lambda: client.data == b"word\n")
        client.send(b"")
        await served.addTimeout(3, reactor)
        self.assertTrue(self.rig.containers.registry.get("cx").state.running)

    async def test_media_types(self) -> None:
        await self.rig.create("true", name="cx")
        for version, kind in ((Version(1, 41), "raw"), (Version(1, 42), "multiplexed")):
            answer = await self.rig.job("ContainerAttach", "cx", version=version)
            self.assertEqual(answer.content_type, f"application/vnd.docker.{kind}-stream")


class LogsTests(StreamsCase):
    async def test_past_output(self) -> None:
        _, served = await self.begin("sh", "-c", "echo 1; echo 2 >&2; echo 3")
        await served
        self.assertEqual(
            (await self.read_logs("stdout=1&stderr=1")).frames(), {1: b"1\n3\n", 2: b"2\n"}
        )
        last = (await self.read_logs("stdout=1&stderr=1&tail=1")).frames()
        self.assertIn(last, ({1: b"3\n"}, {2: b"2\n"}))
        stamped = (await self.read_logs("stderr=1&timestamps=1")).frames()[2]
        self.assertRegex(stamped, rb"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 2\n$")

    async def test_a_long_line_stays_whole(self) -> None:
        _, served = await self.begin(
            "sh", "-c", "busybox yes x | busybox tr -d '\\n' | busybox head -c 100000; echo"
        )
        await served
        client = await self.read_logs("stdout=1&timestamps=1&tail=1")
        text = client.frames()[1]
        self.assertEqual(text[31:], b"x" * 100_000 + b"\n")

    async def test_following_ends_with_the_container(self) -> None:
        await self.rig.create("sh", "-c", "echo 1; read x; echo 2", name="cx", OpenStdin=True)
        await self.rig.job("ContainerStart", "cx")
        client = Client()
        answer = await self.rig.job("ContainerLogs", "cx", query="stdout=1&follow=1")
        served = self.serve(answer, client)
        await until(lambda: client.data.endswith(b"1\n"))
        other, attached = await self.attach("cx", "stream=1&stdin=1")
        other.send(b"\n")
        await served
        self.assertEqual(client.frames(), {1: b"1\n2\n"})
        other.send(b"")
        await attached

    async def test_no_stream_is_chosen(self) -> None:
        await self.rig.create("true", name="cx")
        message = await self.fails(InvalidParameter, self.rig.job("ContainerLogs", "cx"))
        self.assertEqual(message, "must specify at least one of 'stdout' or 'stderr'")
        self.assertEqual((await self.read_logs("stdout=1&follow=1")).data, b"")

    async def test_following_ends_at_until(self) -> None:
        await self.begin("sh", "-c", "echo early; sleep 100")
        begun = time.time()
        following = self.read_logs(f"stdout=1&follow=1&until={begun + 0.7:.9f}")
        got = await Deferred.fromCoroutine(following).addTimeout(4, reactor)
        self.assertGreaterEqual(time.time(), begun + 0.7)
        self.assertEqual(got.frames(), {1: b"early\n"})

    async def test_resize_of_what_is_ending_is_a_conflict(self) -> None:
        await self.begin("sleep", "100", Tty=True)
        container = self.rig.containers.registry.get("cx")
        watch = self.rig.containers.places.watch(container)
        watch.control_pipe.rename(watch.control_pipe.with_suffix(".away"))
        resizing = self.rig.job("ContainerResize", "cx", query="h=10&w=20")
        self.assertEqual(
            await self.fails(Conflict, resizing), f"container {container.id} is not running"
        )


class ExecTests(StreamsCase):
    async def make(self, *command: str, **config: Any) -> str:
        if "cx" not in self.rig.containers.registry:
            await self.rig.create("sleep", "100", name="cx")
            await self.rig.job("ContainerStart", "cx")
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **config}
        return str((await self.rig.job("ContainerExec", "cx", body=body))["Id"])

    async def inspect(self, exec_id: str) -> dict[str, Any]:
        return dict(await self.rig.job("ExecInspect", exec_id))

    async def start(self, exec_id: str, client: Client, **body: Any) -> None:
        await self.serve(await self.rig.job("ExecStart", exec_id, body=body), client)

    async def test_output_and_code(self) -> None:
        exec_id = await self.make("sh", "-c", "echo out; echo err >&2; exit 7")
        client = Client()
        await self.start(exec_id, client)
        self.assertEqual(client.frames(), {1: b"out\n", 2: b"err\n"})
        found = await self.inspect(exec_id)
        self.assertEqual((found["ExitCode"], found["Running"]), (7, False))
        await until(lambda: "exec_die" in self.rig.actions())
        self.assertEqual(
            self.rig.actions()[2:],
            [
                "exec_create: sh -c echo out; echo err >&2; exit 7",
                "exec_start: sh -c echo out; echo err >&2; exit 7",
                "exec_die",
            ],
        )
        again = await self.fails(
            Conflict, self.rig.job("ExecStart", exec_id, body={"Detach": True})
        )
        self.assertEqual(again, f"exec command {exec_id} has already run")
        client = Client()
        await self.start(exec_id, client)
        self.assertEqual(client.frames(), {1: f"{again}\r\n".encode()})

    async def test_input_and_its_end(self) -> None:
        client = Client()
        data = os.urandom(200_000)
        client.send(data)
        client.send(b"")
        await self.start(await self.make("cat", AttachStdin=True), client)
        self.assertEqual(client.frames(), {1: data})

    async def test_environment_user_directory_and_terminal(self) -> None:
        exec_id = await self.make(
            "sh",
            "-c",
            "echo $A $PWD; id; until busybox stty size; do :; done",
            Tty=True,
            Env=["A=b"],
            User="user",
            WorkingDir="/tmp",
        )
        client = Client()
        await self.start(exec_id, client, Tty=True, ConsoleSize=[31, 97])
        self.assertIn(b"b /tmp\r\nuid=1000(user) gid=100(users)", client.data)
        self.assertIn(b"31 97\r\n", client.data)

    async def test_detached(self) -> None:
        exec_id = await self.make("sh", "-c", "exit 4")
        self.assertIsNone(await self.rig.job("ExecStart", exec_id, body={"Detach": True}))
        while (await self.inspect(exec_id))["Running"]:
            await deferLater(reactor, 0.02)
        self.assertEqual((await self.inspect(exec_id))["ExitCode"], 4)

    async def test_a_command_that_is_missing(self) -> None:
        exec_id = await self.make("nosuch")
        client = Client()
        await self.start(exec_id, client)
        self.assertIn(b"OCI runtime exec failed: exec failed", client.frames()[1])
        self.assertIn((await self.inspect(exec_id))["ExitCode"], (126, 127))

    async def test_no_container_and_no_exec(self) -> None:
        await self.rig.create("true", name="stopped")
        message = await self.fails(
            Conflict, self.rig.job("ContainerExec", "stopped", body={"Cmd": ["true"]})
        )
        self.assertRegex(message, "^container [0-9a-f]{64} is not running$")
        self.assertEqual(
            await self.fails(NotFound, self.rig.job("ExecInspect", "nosuch")),
            "No such exec instance: nosuch",
        )
        with_no_command = self.rig.job("ContainerExec", "stopped", body={})
        self.assertEqual(
            await self.fails(InvalidParameter, with_no_command), "No exec command specified"
        )

    async def test_nothing_stays_of_an_exec(self) -> None:
        exec_id = await self.make("true")
        await self.start(exec_id, Client())
        run = self.rig.layout.container_run(self.rig.containers.registry.get("cx").id)
        await until(lambda: not Path(run / "execs" / exec_id).exists())
        await self.fails(EngineError, self.rig.job("ExecResize", exec_id, query="h=1&w=1"))
