"""Attach and resize with real containers."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from urllib.parse import quote

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from dockerapi.engine.errors import Conflict, InvalidParameter
from dockerapi.local.containers.runtime.monitor import is_there
from dockerapi.model.versions import Version
from dockerapi.wire.stdcopy import frame
from tests.local.containers.streams.support import Client, StreamsCase, until


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
        stalled: Deferred[None] = Deferred()
        client.stalled = stalled
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

    async def test_the_end_ends_an_attach_of_the_input_alone(self) -> None:
        for query in ("stream=1&stdin=1", "stream=1&stdin=1&logs=1"):
            await self.rig.create("sh", "-c", "read x; exit 3", name="cx", OpenStdin=True)
            await self.rig.job("ContainerStart", "cx")
            client, served = await self.attach("cx", query)
            client.send(b"word\n")
            await served.addTimeout(60, reactor)
            self.assertEqual(self.rig.containers.registry.get("cx").state.exit_code, 3)
            self.assertEqual(client.data, b"")
            await self.rig.job("ContainerDelete", "cx")

    async def test_removal_ends_an_attach_that_waits_for_a_start(self) -> None:
        await self.rig.create("true", name="cx", OpenStdin=True)
        client, served = await self.attach("cx")
        client.send(b"x")
        await self.rig.job("ContainerDelete", "cx")
        await served

    async def test_an_attach_to_what_was_removed_before_its_head_went_out(self) -> None:
        await self.rig.create("true", name="cx")
        query = "stream=1&stdout=1"
        answer = await self.rig.job("ContainerAttach", "cx", query=query)
        await self.rig.job("ContainerDelete", "cx")
        await self.serve(answer, Client())
        self.assertEqual(self.attachments._hubs, {})

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
        await served.addTimeout(60, reactor)
        self.assertTrue(self.rig.containers.registry.get("cx").state.running)

    async def test_media_types(self) -> None:
        await self.rig.create("true", name="cx")
        for version, kind in ((Version(1, 41), "raw"), (Version(1, 42), "multiplexed")):
            answer = await self.rig.job("ContainerAttach", "cx", version=version)
            self.assertEqual(answer.content_type, f"application/vnd.docker.{kind}-stream")

    async def test_a_client_leaves_with_its_input(self) -> None:
        for terminal in (False, True):
            name = f"leaves{terminal}"
            script = "while read x; do echo got $x; done; sleep 100"
            await self.rig.create("sh", "-c", script, name=name, OpenStdin=True, Tty=terminal)
            await self.rig.job("ContainerStart", name)
            client, served = await self.attach(name)
            client.send(b"word\n")
            await until(partial(client.has, b"got word"))
            client.send(b"")
            await served.addTimeout(60, reactor)
            self.assertTrue(self.rig.containers.registry.get(name).state.running)
            # Its input is open: the next client's words arrive.
            other, also = await self.attach(name)
            other.send(b"more\n")
            await until(partial(other.has, b"got more"))
            other.send(b"")
            await also

    async def test_the_end_of_input_that_nobody_takes_changes_nothing(self) -> None:
        client, served = await self.begin("sh", "-c", "sleep 1; echo late")
        client.send(b"")
        await served
        self.assertEqual(client.frames(), {1: b"late\n"})

    async def test_the_end_can_be_read_before_the_stream_ends(self) -> None:
        for turn in range(5):
            name = f"turn{turn}"
            await self.rig.create("sh", "-c", "sleep 0.2; exit 3", name=name)
            await self.rig.job("ContainerStart", name)
            _, served = await self.attach(name)
            await served
            state = self.rig.containers.registry.get(name).state
            self.assertEqual((state.running, state.exit_code), (False, 3))

    async def test_past_and_coming_output_are_one(self) -> None:
        script = "i=0; while [ $i -lt 3000 ]; do echo $i; echo e$i >&2; i=$((i+1)); done; read x"
        await self.rig.create("sh", "-c", script, name="cx", OpenStdin=True)
        await self.rig.job("ContainerStart", "cx")
        query = "logs=1&stream=1&stdin=1&stdout=1&stderr=1"
        clients = []
        for _ in range(8):
            clients.append(await self.attach("cx", query))
            await deferLater(reactor, 0.02)
        numbers = range(3000)
        out = b"".join(b"%d\n" % number for number in numbers)
        err = b"".join(b"e%d\n" % number for number in numbers)
        clients[0][0].send(b"\n")
        for client, served in clients:
            await served
            self.assertEqual(client.frames(), {1: out, 2: err})

    async def test_what_was_written_is_told_while_the_end_is_being_recorded(self) -> None:
        for monitor in ("gone before it is asked for", "gone after that"):
            await self.rig.create("sh", "-c", "echo last; sleep 100", name="cx")
            await self.rig.job("ContainerStart", "cx")
            container = self.rig.containers.registry.get("cx")
            watch = self.rig.containers.places.watch(container)
            log = self.rig.containers.places.directories(container).log
            await until(partial(_is_in, b"last", log))
            await container.lock.acquire()
            query = "stream=1&logs=1&stdout=1"
            answer = await self.rig.job("ContainerAttach", "cx", query=query)
            os.kill(container.state.pid, signal.SIGKILL)
            await until(partial(_is_gone, watch.conmon_pid_file))
            watch.attach_socket.unlink(missing_ok=True)
            if monitor.startswith("gone before"):
                answer = await self.rig.job("ContainerAttach", "cx", query=query)
            client = Client()
            served = self.serve(answer, client)
            container.lock.release()
            await served.addTimeout(60, reactor)
            self.assertEqual(client.frames(), {1: b"last\n"}, monitor)
            await self.rig.job("ContainerDelete", "cx")

    async def test_a_reader_of_past_and_coming_output_may_vanish(self) -> None:
        await self.begin("sh", "-c", "echo word; read x", OpenStdin=True)
        for query in ("logs=1&stream=1&stdout=1", "logs=1&stream=1&stdin=1&stdout=1"):
            client, served = await self.attach("cx", query)
            await until(partial(client.has, frame(1, b"word\n")))
            served.addErrback(lambda failure: failure.trap(CancelledError))
            served.cancel()
            await served

    async def test_without_a_log_there_is_only_what_comes(self) -> None:
        await self.rig.create(
            "sh",
            "-c",
            "echo past; read x; echo $x",
            name="cx",
            OpenStdin=True,
            host={"LogConfig": {"Type": "none"}},
        )
        await self.rig.job("ContainerStart", "cx")
        await deferLater(reactor, 0.3)
        client, served = await self.attach("cx", "logs=1&stream=1&stdin=1&stdout=1")
        client.send(b"word\n")
        await served
        self.assertEqual(client.frames(), {1: b"word\n"})

    async def test_keys_count_on_terminals_only(self) -> None:
        client, served = await self.begin("cat", OpenStdin=True, StdinOnce=True)
        client.send(b"\x10\x11x\n")
        client.send(b"")
        await served
        self.assertEqual(client.frames(), {1: b"\x10\x11x\n"})
        bad = self.rig.job("ContainerAttach", "cx", query="detachKeys=ctrl-1")
        self.assertEqual(
            await self.fails(InvalidParameter, bad), "Invalid detach keys (ctrl-1) provided"
        )

    async def test_an_attach_is_told_of_without_a_stream_too(self) -> None:
        await self.rig.create("true", name="cx")
        client, served = await self.attach("cx", "logs=1&stdout=1")
        await served
        self.assertEqual((client.data, self.rig.actions()), (b"", ["create", "attach"]))

    async def test_a_paused_container(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        await self.rig.job("ContainerPause", "cx")
        self.assertEqual(
            await self.fails(Conflict, self.rig.job("ContainerAttach", "cx")),
            "container cx is paused, unpause the container before attach",
        )
        await self.rig.job("ContainerUnpause", "cx")

    async def test_old_websockets_have_all_streams(self) -> None:
        await self.begin("sh", "-c", "read x; echo got $x; echo err >&2; sleep 100", OpenStdin=True)
        for version, want in ((Version(1, 41), b"got word\nerr\n"), (Version(1, 42), b"")):
            answer = await self.rig.job(
                "ContainerAttachWebsocket", "cx", query="stream=1", version=version
            )
            client = Client()
            served = self.serve(answer, client)
            client.send(b"word\n")
            await until(partial(client.has, want))
            client.send(b"")
            await served

    async def test_sizes(self) -> None:
        await self.begin("sleep", "100", Tty=True)
        for query in ("h=0&w=0", "h=70000&w=4294967295"):
            self.assertIsNone(await self.rig.job("ContainerResize", "cx", query=query))
        for text, why in (
            *(("", "invalid syntax"), ("-", "invalid syntax"), ("+5", "invalid syntax")),
            *(("a", "invalid syntax"), ("-1", "value out of range")),
            ("4294967296", "value out of range"),
        ):
            bad = self.rig.job("ContainerResize", "cx", query=f"h={quote(text)}&w=5")
            message = await self.fails(InvalidParameter, bad)
            self.assertEqual(message, f'invalid resize height "{text}": {why}')

    async def test_resize_of_what_is_ending_is_a_conflict(self) -> None:
        await self.begin("sleep", "100", Tty=True)
        container = self.rig.containers.registry.get("cx")
        watch = self.rig.containers.places.watch(container)
        watch.control_pipe.rename(watch.control_pipe.with_suffix(".away"))
        resizing = self.rig.job("ContainerResize", "cx", query="h=10&w=20")
        self.assertEqual(
            await self.fails(Conflict, resizing), f"container {container.id} is not running"
        )


def _is_in(words: bytes, log: Path) -> bool:
    return log.exists() and words in log.read_bytes()


def _is_gone(pid_file: Path) -> bool:
    return not is_there(pid_file)
