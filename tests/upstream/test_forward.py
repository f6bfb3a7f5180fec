"""Requests and answers through the forwarding backend, before an upstream that follows a script."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import Deferred

from dockerapi.engine.answers import Response
from dockerapi.engine.errors import Cancelled, InvalidParameter, Unavailable
from dockerapi.upstream import exchange
from dockerapi.upstream.inbox import HIGH
from dockerapi.wire.duplex import StreamAborted
from tests.serving import serve
from tests.upstream.scripted import (
    OK,
    ClientStream,
    Feed,
    UpstreamTestCase,
    reactor,
    until,
)


class RequestTests(UpstreamTestCase):
    async def sent(self, ending: bytes = b"\r\n\r\n", **request: Any) -> bytes:
        """Return what the upstream received of a request."""
        run = self.run_job(**request)
        side = await self.upstream.side()
        sent = await side.request(ending)
        side.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        await run
        return sent

    async def test_goes_to_the_version_of_the_client_with_its_query(self) -> None:
        sent = await self.sent(path="/images/a%2Fb/json", query="x=%20&y")
        self.assertTrue(sent.startswith(b"GET /v1.41/images/a%2Fb/json?x=%20&y HTTP/1.1\r\n"))

    async def test_headers_pass_but_for_those_of_one_connection(self) -> None:
        headers = [
            (b"Host", b"api.moby.localhost"),
            (b"X-Registry-Auth", b"e30="),
            (b"Connection", b"close, X-Hop"),
            (b"X-Hop", b"1"),
            (b"TE", b"trailers"),
            (b"Upgrade", b"h2c"),
            (b"Content-Length", b"99"),
            (b"x-twice", b"1"),
            (b"x-twice", b"2"),
        ]
        sent = await self.sent(headers=headers)
        self.assertEqual(
            sent.split(b"\r\n")[1:-2],
            [b"Host: localhost", b"X-Registry-Auth: e30=", b"x-twice: 1", b"x-twice: 2"],
        )

    async def test_body_with_a_length(self) -> None:
        sent = await self.sent(b"abc", method="POST", body=Feed(b"a", b"bc"), length=3)
        self.assertIn(b"\r\nContent-Length: 3\r\n", sent)
        self.assertTrue(sent.endswith(b"\r\n\r\nabc"))

    async def test_body_without_a_length_is_chunked(self) -> None:
        sent = await self.sent(
            b"0\r\n\r\n", method="POST", body=Feed(b"abc", b"d" * 10, b""), length=None
        )
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n3\r\nabc\r\na\r\ndddddddddd\r\n0\r\n\r\n"))

    async def test_a_post_without_a_body_says_so(self) -> None:
        self.assertIn(b"\r\nContent-Length: 0\r\n", await self.sent(method="POST"))
        self.assertNotIn(b"Content-Length", await self.sent(method="GET"))

    async def test_what_cannot_be_sent_is_refused_and_sends_nothing(self) -> None:
        await self.assertFailure(self.run_job(path="/x\r\nX: y"), InvalidParameter)
        sent = await self.sent(path="/y")
        self.assertTrue(sent.startswith(b"GET /v1.41/y "))

    async def test_a_body_that_breaks_off_ends_the_request_upstream(self) -> None:
        for broken in (StreamAborted("left"), b""):
            body = Feed(b"ab", broken)
            run = self.run_job(method="POST", body=body, length=9)
            await self.assertFailure(run, Cancelled)
        await until(lambda: all(side.lost for side in self.upstream.sides))

    async def test_the_body_waits_for_an_upstream_that_does_not_read(self) -> None:
        body = Feed(*[b"x" * 65536] * 400)
        run = self.run_job(method="POST", body=body, length=400 * 65536)
        side = await self.upstream.side()
        side.transport.pauseProducing()
        await until(lambda: body.reads > 1)
        taken = -1
        while taken != body.taken:
            taken = body.taken
            await until(self.a_moment())
        self.assertLess(taken, 4 * 1024 * 1024)
        side.transport.resumeProducing()
        await until(lambda: len(side.seen) > 400 * 65536)
        side.say(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.assertEqual((await run).status, 204)

    def a_moment(self) -> Any:
        end = reactor.seconds() + 0.05
        return lambda: reactor.seconds() > end

    async def test_expectation_waits_for_100_continue(self) -> None:
        body = Feed(b"abc")
        run = self.run_job(
            method="PUT", headers=[(b"Expect", b"100-continue")], body=body, length=3
        )
        side = await self.upstream.side()
        self.assertIn(b"\r\nExpect: 100-continue\r\n", await side.request())
        await until(self.a_moment())
        self.assertEqual(body.reads, 0)
        side.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        await side.request(b"abc")
        side.say(OK + b"Content-Length: 2\r\n\r\nhi")
        answer = await run
        self.assertEqual((answer.status, answer.body), (200, b"hi"))

    async def test_a_refused_expectation_never_reads_the_body(self) -> None:
        body = Feed(b"abc")
        run = self.run_job(
            method="PUT", headers=[(b"Expect", b"100-continue")], body=body, length=3
        )
        side = await self.upstream.side()
        await side.request()
        side.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((await run).status, 404)
        self.assertEqual(body.reads, 0)
        await until(lambda: side.lost)

    async def test_an_upstream_that_knows_no_expectation_gets_the_body(self) -> None:
        self.patch(exchange, "CONTINUE_TIMEOUT", 0.02)
        await self.sent(
            b"abc",
            method="PUT",
            headers=[(b"Expect", b"100-continue")],
            body=Feed(b"abc"),
            length=3,
        )


class AnswerTests(UpstreamTestCase):
    async def answer(self, data: bytes, **request: Any) -> tuple[Any, Any]:
        """Return the answer to a request that the upstream answers with `data`, and its side."""
        run = self.run_job(**request)
        side = await self.upstream.side(len(self.upstream.sides))
        await side.request()
        side.say(data)
        return await run, side

    async def test_a_whole_answer_is_one_piece(self) -> None:
        answer, _ = await self.answer(
            b"HTTP/1.1 404 Not Here\r\nApi-Version: 1.41\r\nConnection: x\r\nX: y\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        self.assertEqual(
            answer, Response(404, [(b"Api-Version", b"1.41")], b"abc", reason="Not Here")
        )

    async def test_a_length_is_kept_for_a_stream(self) -> None:
        answer, side = await self.answer(OK + b"Content-Length: 6\r\nX-A: b\r\n\r\nabc")
        self.assertEqual((answer.length, answer.headers), (6, [(b"X-A", b"b")]))
        client = ClientStream()
        served = serve(answer, client)
        await until(lambda: client.seen == b"abc")
        side.say(b"def")
        await served
        self.assertEqual(client.seen, b"abcdef")

    async def test_chunks_are_passed_on_as_they_come(self) -> None:
        answer, side = await self.answer(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        self.assertIsNone(answer.length)
        client = ClientStream()
        served = serve(answer, client)
        for number in range(3):
            side.say(b"2\r\n%d\n\r\n" % number)
            await until(lambda: client.seen.endswith(b"%d\n" % number))  # noqa: B023
        side.say(b"0\r\n\r\n")
        await served
        self.assertFalse(side.lost)

    async def test_a_body_that_ends_with_its_connection(self) -> None:
        answer, side = await self.answer(b"HTTP/1.0 200 OK\r\n\r\nab")
        client = ClientStream()
        served = serve(answer, client)
        side.say(b"cd")
        side.transport.loseConnection()
        await served
        self.assertEqual((client.seen, answer.length), (b"abcd", None))

    async def test_heads_without_bodies(self) -> None:
        answer, side = await self.answer(OK + b"Content-Length: 7\r\n\r\n", method="HEAD")
        self.assertEqual((answer.body, answer.length), (b"", 7))
        for status in (b"204", b"304"):
            run = self.run_job()
            await side.request()
            side.say(b"HTTP/1.1 " + status + b" X\r\n\r\n")
            self.assertEqual((await run).body, b"")
        self.assertEqual(len(self.upstream.sides), 1)

    async def test_interim_answers_are_not_passed_on(self) -> None:
        answer, _ = await self.answer(
            b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nz"
        )
        self.assertEqual((answer.status, answer.body), (200, b"z"))

    async def test_an_answer_that_begins_before_the_end_of_the_body(self) -> None:
        body, client = Feed(b"one"), ClientStream()
        answer, side = await self.answer(
            OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nstep\r\n",
            method="POST",
            body=body,
            length=None,
        )
        served = serve(answer, client)
        await until(lambda: client.seen == b"step")
        body.put(b"two", b"")
        await side.request(b"3\r\ntwo\r\n0\r\n\r\n")
        side.say(b"0\r\n\r\n")
        await served
        await until(lambda: self.backend._pool.idle == 1)

    async def test_an_answer_that_ends_before_the_body(self) -> None:
        body = Feed(b"one")
        answer, side = await self.answer(
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
            method="POST",
            body=body,
            length=99,
        )
        self.assertEqual((answer.status, answer.body), (400, b"no"))
        await until(lambda: side.lost)
        self.assertIsNone(body._waiting)

    async def test_a_body_that_breaks_off_is_not_ended(self) -> None:
        for framing, part in (
            (b"Content-Length: 9", b"abc"),
            (b"Transfer-Encoding: chunked", b"9\r\nabc"),
            (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n"),
            (b"Transfer-Encoding: chunked", b"3\r\nabc\r\nrubbish\r\n"),
        ):
            answer, side = await self.answer(OK + framing + b"\r\n\r\n" + part)
            client = ClientStream()
            served = serve(answer, client)
            side.transport.loseConnection()
            await self.assertFailure(served, StreamAborted)
            self.assertIn(client.seen, (b"abc", b""))
            self.assertFalse(client.write_closed)

    async def test_no_answer_at_all(self) -> None:
        for data in (b"", b"HTTP/1.1 200", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 X\r\n\r\n"):
            run = self.run_job()
            side = await self.upstream.side(len(self.upstream.sides))
            await side.request()
            side.say(data)
            side.transport.loseConnection()
            error = await self.assertFailure(run, Unavailable)
            self.assertIn(f"the engine at unix://{self.path} did not answer", error.message)

    async def test_slow_clients_hold_the_upstream(self) -> None:
        answer, side = await self.answer(OK + b"Content-Length: 20000000\r\n\r\n")
        client = ClientStream()
        client.blocked = Deferred()
        served = serve(answer, client)
        produced = 0

        class Producer:
            paused = False

            def pauseProducing(self) -> None:
                self.paused = True

            def resumeProducing(self) -> None:
                self.paused = False
                reactor.callLater(0, self.produce)

            def stopProducing(self) -> None:
                self.paused = True

            def produce(self) -> None:
                nonlocal produced
                while not self.paused and produced < 20000000:
                    side.say(b"x" * 50000)
                    produced += 50000

        producer = Producer()
        side.transport.registerProducer(producer, True)
        producer.produce()
        before = -1
        while before != produced:
            before = produced
            end = reactor.seconds() + 0.05
            await until(lambda: reactor.seconds() > end)  # noqa: B023
        self.assertLess(produced, 4 * HIGH + 1024 * 1024)
        blocked, client.blocked = client.blocked, None
        blocked.callback(None)
        await served
        self.assertEqual(len(client.seen), 20000000)


class LeavingTests(UpstreamTestCase):
    """A client that leaves ends what it asked the upstream for."""

    async def test_before_the_answer(self) -> None:
        run = self.run_job()
        side = await self.upstream.side()
        await side.request()
        run.cancel()
        await self.assertFailure(run, Cancelled)
        await until(lambda: side.lost)

    async def test_while_connecting(self) -> None:
        run = self.run_job()
        run.cancel()
        await self.assertFailure(run, Cancelled)

    async def streaming(
        self, head: bytes = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    ) -> tuple[Any, Any]:
        run = self.run_job()
        side = await self.upstream.side()
        await side.request()
        side.say(head)
        return await run, side

    async def test_while_the_answer_is_silent(self) -> None:
        answer, side = await self.streaming()
        served = serve(answer, ClientStream())
        served.cancel()
        await self.assertFailure(served, Exception)
        await until(lambda: side.lost)

    async def test_while_the_answer_is_written(self) -> None:
        answer, side = await self.streaming()
        client = ClientStream()
        client.gone = True
        served = serve(answer, client)
        side.say(b"1\r\na\r\n")
        await self.assertFailure(served, StreamAborted)
        await until(lambda: side.lost)

    async def test_when_nobody_serves_the_answer(self) -> None:
        answer, side = await self.streaming()
        del answer
        gc.collect()
        await until(lambda: side.lost)
