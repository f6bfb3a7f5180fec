"""Raw streams between a client and the upstream, after a hijack."""

from __future__ import annotations

import gc
from typing import Any

from dockerapi.engine.answers import Hijack
from dockerapi.wire.duplex import StreamAborted
from tests.serving import serve
from tests.upstream.scripted import (
    OK,
    ClientStream,
    Feed,
    HalfClosingSide,
    UpstreamTestCase,
    until,
)


class HijackTests(UpstreamTestCase):
    UPGRADE = (
        b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
        b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )

    def setUp(self) -> None:
        super().setUp()
        self.upstream.side_class = HalfClosingSide

    async def hijack(
        self, head: bytes = UPGRADE, name: str = "ContainerAttach"
    ) -> tuple[Hijack, Any]:
        run = self.run_job(
            name,
            "POST",
            "/containers/x/attach",
            headers=[(b"Connection", b"Upgrade"), (b"Upgrade", b"tcp")],
        )
        side = await self.upstream.side()
        request = await side.request()
        self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n", request)
        side.say(head)
        answer = await run
        assert isinstance(answer, Hijack)
        return answer, side

    async def test_the_head_is_passed_on(self) -> None:
        answer, _ = await self.hijack()
        self.assertEqual((answer.status, answer.reason), (101, "UPGRADED"))
        self.assertEqual(
            list(answer.headers),
            [
                (b"Content-Type", b"application/vnd.docker.raw-stream"),
                (b"Connection", b"Upgrade"),
                (b"Upgrade", b"tcp"),
            ],
        )

    async def test_bytes_go_both_ways_and_directions_end_one_by_one(self) -> None:
        answer, side = await self.hijack(self.UPGRADE + b"early")
        client = ClientStream(b"typed")
        served = serve(answer, client)
        await until(lambda: client.seen == b"early" and side.seen == b"typed")
        client.put(b"more", b"")
        await until(lambda: side.ended)
        self.assertEqual(side.seen, b"typedmore")
        self.assertFalse(client.write_closed)
        side.say(b"late")
        await until(lambda: client.seen == b"earlylate")
        side.transport.loseConnection()
        await served
        self.assertTrue(client.write_closed)

    async def test_the_upstream_may_end_first(self) -> None:
        answer, side = await self.hijack()
        client = ClientStream()
        served = serve(answer, client)
        side.say(b"bye")
        side.transport.loseWriteConnection()
        await until(lambda: client.write_closed)
        self.assertEqual(client.seen, b"bye")
        client.put(b"still here", b"")
        await until(lambda: side.ended)
        self.assertEqual(side.seen, b"still here")
        await served

    async def test_an_answer_of_old_without_upgrade(self) -> None:
        answer, side = await self.hijack(
            OK + b"Content-Type: application/vnd.docker.raw-stream\r\n\r\nx"
        )
        self.assertEqual((answer.status, answer.reason), (200, "OK"))
        client = ClientStream(b"")
        served = serve(answer, client)
        await until(lambda: side.ended)
        side.transport.loseConnection()
        await served
        self.assertEqual(client.seen, b"x")

    async def test_a_refusal_is_an_ordinary_answer(self) -> None:
        run = self.run_job("ContainerAttach", "POST", "/containers/x/attach")
        side = await self.upstream.side()
        side.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")
        answer = await run
        self.assertEqual((answer.status, answer.body), (404, b"{}"))
        run = self.run_job("ExecStart", "POST", "/exec/x/start")
        side.say(OK + b"Content-Length: 0\r\n\r\n")
        self.assertEqual((await run).status, 200)
        self.assertEqual(len(self.upstream.sides), 1)

    async def test_a_request_with_a_body_is_sent_first(self) -> None:
        run = self.run_job(
            "ExecStart", "POST", "/exec/x/start", body=Feed(b'{"Tty":true}'), length=12
        )
        side = await self.upstream.side()
        await side.request(b'{"Tty":true}')
        side.say(self.UPGRADE)
        client = ClientStream(b"ls\n", b"")
        served = serve(await run, client)
        await until(lambda: side.ended)
        self.assertEqual(side.seen, b"ls\n")
        side.transport.loseConnection()
        await served

    async def test_a_client_that_breaks_off_ends_the_stream_upstream(self) -> None:
        answer, side = await self.hijack()
        client = ClientStream(StreamAborted("reset"))
        await self.assertFailure(serve(answer, client), StreamAborted)
        await until(side.deaf)

    async def test_a_client_that_is_gone_ends_the_stream_upstream(self) -> None:
        answer, side = await self.hijack()
        client = ClientStream()
        client.gone = True
        served = serve(answer, client)
        side.say(b"x")
        await self.assertFailure(served, StreamAborted)
        await until(side.deaf)

    async def test_cancelling_ends_both_sides(self) -> None:
        answer, side = await self.hijack()
        served = serve(answer, ClientStream())
        served.cancel()
        await self.assertFailure(served, Exception)
        await until(side.deaf)

    async def test_an_upstream_that_breaks_off_ends_the_stream(self) -> None:
        answer, side = await self.hijack()
        client = ClientStream(b"typed")
        served = serve(answer, client)
        await until(lambda: side.seen)
        side.say(b"last words")
        await until(lambda: client.seen)
        side.transport.abortConnection()
        await until(lambda: client.write_closed)
        client.put(b"to nobody", b"to nobody")
        await served
        self.assertEqual(client.seen, b"last words")

    async def test_when_nobody_serves_it(self) -> None:
        answer, side = await self.hijack()
        del answer
        gc.collect()
        await until(side.deaf)
