"""Logs with real containers."""

from __future__ import annotations

import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from dockerapi.engine.errors import Conflict, InvalidParameter
from dockerapi.local.containers.logs import operation as logs
from tests.local.containers.streams.support import Client, StreamsCase, until
from tests.local.leaving import descriptors, leave


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

    async def test_what_is_being_removed_shows_no_log(self) -> None:
        _, served = await self.begin("echo", "1")
        await served
        container = self.rig.containers.registry.get("cx")
        await until(lambda: not container.state.running)
        container.removing = True
        message = await self.fails(Conflict, self.read_logs("stdout=1"))
        self.assertEqual(
            message, "can not get logs from container which is dead or marked for removal"
        )
        container.removing = False
        self.assertEqual((await self.read_logs("stdout=1")).frames(), {1: b"1\n"})

    async def test_a_client_that_leaves_at_any_moment_leaves_nothing_open(self) -> None:
        _, served = await self.begin("echo", "1")
        await served
        container = self.rig.containers.registry.get("cx")
        await until(lambda: not container.state.running)
        await self.read_logs("stdout=1&tail=1")
        before, number = descriptors(), 1
        while await leave(self, logs, number, lambda: self.read_logs("stdout=1&tail=1")):
            self.assertEqual(descriptors(), before)
            number += 1
        self.assertGreater(number, 4)

    async def test_following_ends_at_until(self) -> None:
        await self.begin("sh", "-c", "echo early; sleep 100")
        begun = time.time()
        following = self.read_logs(f"stdout=1&follow=1&until={begun + 0.7:.9f}")
        got = await Deferred.fromCoroutine(following).addTimeout(60, reactor)
        self.assertGreaterEqual(time.time(), begun + 0.7)
        self.assertEqual(got.frames(), {1: b"early\n"})
