"""One connection: answers, pipelining, refusals, hijacks, clients that leave, time."""

from __future__ import annotations

import gc
import json
import weakref
from functools import partial
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.http.limits import Limits
from dockerapi.http.request import Request
from dockerapi.wire.duplex import Duplex, StreamAborted
from tests.http.support import (
    PLAIN,
    UPGRADE,
    Connection,
    answers,
    chunked,
    echo,
    echo_raw,
    get,
    let,
    ok,
    post,
    start,
)


class AnswerTests(SynchronousTestCase):
    def test_one_answer_is_one_write(self) -> None:
        connection = Connection(ok)
        connection.send(get(b"/x"))
        self.assertEqual(len(connection.wire.writes), 1)
        (answer,) = answers(connection.sent)
        self.assertEqual((answer.status, answer.reason, answer.body), (200, b"OK", b"/x"))
        self.assertEqual(answer.header(b"content-type"), b"text/plain")
        self.assertIsNotNone(answer.header(b"date"))
        self.assertFalse(connection.wire.closed)

    def test_pipelined_answers_in_order(self) -> None:
        connection = Connection()
        connection.send(get(b"/1") + get(b"/2") + get(b"/3"))
        self.assertEqual([r.target for r in connection.requests], [b"/1"])
        while len(connection.requests) < 3 or not connection.requests[-1].done:
            ok(connection.requests[-1])
        bodies = [answer.body for answer in answers(connection.sent, "GET", "GET", "GET")]
        self.assertEqual(bodies, [b"/1", b"/2", b"/3"])

    def test_many_pipelined_at_once(self) -> None:
        connection = Connection(ok)
        connection.send(get(b"/") * 5000)
        self.assertEqual(len(connection.requests), 5000)

    def test_read_ahead_is_bounded(self) -> None:
        connection = Connection(limits=Limits(pipeline=500))
        connection.send(get(b"/1") * 20)
        self.assertFalse(connection.wire.reading)
        while not connection.requests[-1].done:
            ok(connection.requests[-1])
        self.assertTrue(connection.wire.reading)
        self.assertEqual(len(connection.requests), 20)

    def test_a_client_that_does_not_take_answers_gets_no_more(self) -> None:
        connection = Connection(ok)
        connection.channel.out.pauseProducing()
        connection.send(get(b"/1") + get(b"/2"))
        self.assertEqual(connection.requests, [])
        connection.channel.out.resumeProducing()
        self.assertEqual(len(connection.requests), 2)

    def test_head(self) -> None:
        connection = Connection(ok)
        connection.send(get(b"/abc", method=b"HEAD") + get())
        first, second = answers(connection.sent, "HEAD", "GET")
        self.assertEqual((first.header(b"content-length"), first.body), (b"4", b""))
        self.assertEqual(second.body, b"/")

    def test_no_body_with_204_and_304(self) -> None:
        for status in (204, 304):
            connection = Connection(partial(_answer, status))
            connection.send(get())
            head, _, body = connection.sent.partition(b"\r\n\r\n")
            self.assertEqual(body, b"")
            self.assertNotIn(b"content-length", head.lower())

    def test_http_1_0(self) -> None:
        connection = Connection(ok)
        connection.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertIn(b"\r\nConnection: keep-alive\r\n", connection.sent)
        self.assertFalse(connection.wire.closed)
        connection.send(b"GET /b HTTP/1.0\r\n\r\n")
        self.assertTrue(connection.wire.disconnecting)
        self.assertTrue(connection.sent.endswith(b"\r\nConnection: close\r\n\r\n/b"[-6:]))

    def test_stream_on_1_0_ends_with_the_connection(self) -> None:
        connection = Connection()
        connection.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        start(echo_parts(connection.requests[0], b"ab", b"c"))
        self.assertNotIn(b"chunked", connection.sent)
        self.assertTrue(connection.sent.endswith(b"\r\n\r\nabc"))
        self.assertTrue(connection.wire.disconnecting)

    def test_connection_close(self) -> None:
        connection = Connection(ok)
        connection.send(get(b"/", b"Connection: close"))
        self.assertIn(b"\r\nConnection: close\r\n", connection.sent)
        self.assertTrue(connection.wire.disconnecting)

    def test_streams(self) -> None:
        connection = Connection()
        connection.send(get())
        start(echo_parts(connection.requests[0], b"ab", b"", b"c"))
        self.assertTrue(connection.wire.writes[0].endswith(b"\r\n\r\n"))
        (answer,) = answers(connection.sent)
        self.assertEqual((answer.header(b"transfer-encoding"), answer.body), (b"chunked", b"abc"))
        self.assertEqual(connection.requests[0].sent, 3)
        self.assertFalse(connection.wire.closed)

    def test_stream_of_known_length(self) -> None:
        connection = Connection()
        connection.send(get())
        start(echo_parts(connection.requests[0], b"ab", b"c", length=3))
        self.assertEqual(answers(connection.sent)[0].body, b"abc")
        connection.send(get())
        self.failureResultOf(
            start(echo_parts(connection.requests[1], b"abcd", length=3)), ValueError
        )
        start(connection.requests[1].body.read())
        connection.channel.abort("test")

    def test_stream_too_short_breaks_off(self) -> None:
        connection = Connection()
        connection.send(get())
        start(echo_parts(connection.requests[0], b"ab", length=3))
        self.assertTrue(connection.wire.aborted)

    def test_writers_wait_for_room(self) -> None:
        connection = Connection()
        connection.send(get())
        sink = connection.requests[0].stream(200, ())
        connection.channel.out.pauseProducing()
        written = start(sink.write(b"a"))
        self.assertNoResult(written)
        connection.channel.out.resumeProducing()
        self.successResultOf(written)
        connection.channel.out.pauseProducing()
        written = start(sink.write(b"a"))
        connection.channel.connectionLost()
        self.failureResultOf(written, StreamAborted)

    def test_answering_twice_is_an_error(self) -> None:
        connection = Connection(ok)
        connection.send(get())
        self.assertRaises(RuntimeError, ok, connection.requests[0])

    def test_headers_cannot_end_early(self) -> None:
        connection = Connection()
        connection.send(get())
        for value in (b"a\r\nb: c", b"a\nb", b"a\rb", b"\0"):
            for headers in ([(b"x", value)], ((b"x", value),)):
                self.assertRaises(ValueError, connection.requests[0].respond, 200, headers)
        ok(connection.requests[0])

    def test_dispatch_that_fails(self) -> None:
        def fail(request: Request) -> None:
            raise ZeroDivisionError

        connection = Connection(fail)
        connection.send(get())
        self.assertEqual(answers(connection.sent)[0].status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


def _answer(status: int, request: Request) -> None:
    request.respond(status, (), b"x")


async def echo_parts(request: Request, *parts: bytes, length: int | None = None) -> None:
    sink = request.stream(200, (), length=length)
    for part in parts:
        await sink.write(part)
    await sink.close_write()


class RefusalTests(SynchronousTestCase):
    def test_json_and_close(self) -> None:
        connection = Connection(ok)
        connection.send(get() + b"nonsense\r\n\r\n" + get())
        _first, second = answers(connection.sent, "GET", "GET")
        self.assertEqual(second.status, 400)
        self.assertEqual(second.header(b"content-type"), b"application/json")
        self.assertEqual(list(json.loads(second.body)), ["message"])
        self.assertEqual(second.header(b"connection"), b"close")
        self.assertTrue(connection.wire.closed)
        connection.send(get())
        self.assertEqual(len(connection.requests), 1)

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from(
                    (
                        get(),
                        post(b"abc"),
                        chunked(b"abc", b"d"),
                        get(b"/", b"Transfer-Encoding: chunked", method=b"PUT"),
                        get(b"/", b"Content-Length: 9", b"Expect: 100-continue", method=b"PUT"),
                        get(b"/hijack", b"Upgrade: tcp", b"Connection: Upgrade"),
                        get(b"/early", b"Content-Length: 20", method=b"PUT"),
                        b"GET / HTTP/1.0\r\n\r\n",
                        get(method=b"HEAD"),
                        b"3\r\nabc\r\n",
                        b"0\r\n\r\n",
                    )
                ),
            ),
            max_size=6,
        ).map(b"".join),
        st.lists(st.integers(1, 50), max_size=30),
        st.booleans(),
    )
    @settings(max_examples=400, deadline=None)
    def test_any_bytes_in_any_split(self, data: bytes, sizes: list[int], end: bool) -> None:
        """The same answers whatever the split; nothing is logged as an error."""

        def run(sizes: list[int]) -> tuple[list[bytes], bytes, bool]:
            connection = Connection(serve)
            at = 0
            sizes = list(sizes)
            while at < len(data) and not connection.wire.disconnecting:
                size = sizes.pop() if sizes else len(data)
                connection.channel.dataReceived(data[at : at + size])
                at += size
            if end and not connection.wire.disconnecting:
                connection.channel.readConnectionLost()
            result = [r.target for r in connection.requests], connection.sent
            closed = connection.wire.closed
            connection.channel.connectionLost()
            self.assertTrue(all(r.done for r in connection.requests))
            self.assertEqual(connection.factory.connections.open, 0)
            return *result, closed

        def serve(request: Request) -> None:
            if request.target == b"/early":
                ok(request)
            elif request.target == b"/hijack":
                let(echo_raw(request))
            else:
                let(read_all(request))

        targets, sent, closed = run([])
        for other in (sizes, [1] * len(data)):
            targets2, sent2, closed2 = run(other)
            self.assertEqual(targets2, targets)
            self.assertEqual(closed2, closed)
            self.assertEqual(without_dates(sent2), without_dates(sent))
        self.assertEqual(self.flushLoggedErrors(), [])


def without_dates(sent: bytes) -> bytes:
    """Leave out what may depend on the time and on the split (an interim answer)."""
    lines = [line for line in sent.split(b"\r\n") if not line.startswith(b"Date: ")]
    return b"\r\n".join(lines).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


async def read_all(request: Request) -> None:
    body = b""
    while data := await request.body.read():
        body += data
    request.respond(200, PLAIN, body)


class HijackTests(SynchronousTestCase):
    def test_head_by_itself_then_what_was_read_ahead(self) -> None:
        head = get(b"/", b"Upgrade: tcp", b"Connection: Upgrade", method=b"POST")
        with_body = get(
            b"/", b"Upgrade: tcp", b"Connection: Upgrade", b"Content-Length: 2", method=b"POST"
        )
        for start_, size in ((head, 1), (head, 1000), (with_body + b"{}", 1), (chunked(b"{}"), 9)):
            connection = Connection(lambda request: let(echo_raw(request)))
            connection.send(start_ + b"raw GET / HTTP/1.1\r\n\r\n", size)
            sent_head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            self.assertEqual(connection.wire.writes[0], sent_head)
            self.assertEqual(connection.sent, sent_head + b"raw GET / HTTP/1.1\r\n\r\n")
            connection.channel.readConnectionLost()
            self.assertTrue(connection.sent.endswith(b"<end>"))
            self.assertTrue(connection.wire.disconnecting)
            connection.channel.connectionLost()
            self.assertTrue(connection.requests[0].done)
            self.assertEqual(len(connection.requests), 1)

    def hijacked(self, connection: Connection, data: bytes = b"") -> Duplex:
        connection.send(get() + data)
        return connection.requests[0].hijack(200, ())

    def test_unread_body_is_skipped(self) -> None:
        for data in (post(b"abcdef"), chunked(b"abc", b"def")):
            connection = Connection()
            connection.send(data[:-4])
            duplex = connection.requests[0].hijack(101, UPGRADE)
            read = start(duplex.read())
            connection.send(data[-4:] + b"raw")
            self.assertEqual(self.successResultOf(read), b"raw")

    def test_half_closed_client_keeps_receiving(self) -> None:
        connection = Connection()
        gone: list[int] = []
        duplex = self.hijacked(connection, b"in")
        connection.requests[0].on_gone(lambda: gone.append(1))
        connection.channel.readConnectionLost()
        self.assertEqual(self.successResultOf(start(duplex.read())), b"in")
        self.assertEqual(self.successResultOf(start(duplex.read())), b"")
        self.successResultOf(start(duplex.write(b"out")))
        self.assertTrue(connection.sent.endswith(b"out"))
        self.assertEqual((gone, connection.wire.closed), ([], False))
        self.successResultOf(start(duplex.close_write()))
        self.assertTrue(connection.wire.disconnecting)

    def test_half_closed_by_us(self) -> None:
        connection = Connection(limits=Limits(linger_seconds=5, settle_seconds=0))
        duplex = self.hijacked(connection)
        self.successResultOf(start(duplex.close_write()))
        self.assertTrue(connection.wire.half_closed)
        self.failureResultOf(start(duplex.write(b"x")), StreamAborted)
        read = start(duplex.read())
        connection.clock.pump([1.0] * 20)
        connection.send(b"late")
        self.assertEqual(self.successResultOf(read), b"late")
        self.assertFalse(connection.wire.aborted)
        connection.clock.pump([1.0] * 20)
        self.assertTrue(connection.wire.aborted)

    def test_lost(self) -> None:
        connection = Connection()
        duplex = self.hijacked(connection)
        read = start(duplex.read())
        gone: list[int] = []
        connection.requests[0].on_gone(lambda: gone.append(1))
        connection.channel.connectionLost()
        self.failureResultOf(read, StreamAborted)
        self.failureResultOf(start(duplex.write(b"x")), StreamAborted)
        self.assertEqual(gone, [1])
        duplex.abort("harmless")

    def test_backpressure(self) -> None:
        connection = Connection(limits=Limits(body_buffer=100, settle_seconds=0))
        duplex = self.hijacked(connection)
        connection.send(b"a" * 200)
        self.assertFalse(connection.wire.reading)
        self.successResultOf(start(duplex.read()))
        self.assertTrue(connection.wire.reading)
        connection.channel.out.pauseProducing()
        written = start(duplex.write(b"a"))
        self.assertNoResult(written)
        connection.channel.out.resumeProducing()
        self.successResultOf(written)

    def test_hijack_of_a_client_that_left(self) -> None:
        connection = Connection()
        connection.send(get())
        connection.channel.connectionLost()
        duplex = connection.requests[0].hijack(101, UPGRADE)
        self.failureResultOf(start(duplex.read()), StreamAborted)
        self.failureResultOf(start(duplex.write(b"x")), StreamAborted)
        self.successResultOf(start(duplex.close_write()))

    def test_head_has_time_to_be_read_by_itself(self) -> None:
        connection = Connection(limits=Limits(settle_seconds=0.5))
        duplex = self.hijacked(connection)
        written = start(duplex.write(b"a"))
        connection.clock.advance(0.4)
        self.assertNoResult(written)
        connection.clock.advance(0.2)
        self.successResultOf(written)
        self.successResultOf(start(duplex.write(b"b")))
        self.assertEqual(connection.wire.writes[1:], [b"a", b"b"])
        connection = Connection(limits=Limits(settle_seconds=0.5))
        written = start(self.hijacked(connection).write(b"a"))
        connection.channel.connectionLost()
        connection.clock.advance(1)
        self.failureResultOf(written, StreamAborted)


class GoneTests(SynchronousTestCase):
    def test_end_of_input(self) -> None:
        connection = Connection()
        connection.send(get())
        calls: list[str] = []
        connection.requests[0].on_gone(lambda: calls.append("gone"))
        connection.requests[0].on_done(lambda: calls.append("done"))
        connection.channel.readConnectionLost()
        self.assertEqual(calls, [])
        connection.clock.advance(1)
        self.assertEqual(calls, ["gone", "done"])
        self.assertTrue(connection.wire.disconnecting)
        ok(connection.requests[0])
        self.assertEqual(connection.sent, b"")

    def test_answer_that_is_soon_ready_reaches_a_half_closed_client(self) -> None:
        connection = Connection()
        connection.send(get())
        connection.channel.readConnectionLost()
        connection.clock.advance(0.4)
        ok(connection.requests[0])
        self.assertEqual(answers(connection.sent)[0].status, 200)
        self.assertTrue(connection.wire.disconnecting)
        self.assertFalse(connection.requests[0].gone)
        connection.channel.connectionLost()
        self.assertEqual(connection.clock.getDelayedCalls(), [])

    def test_streaming_stops(self) -> None:
        connection = Connection()
        connection.send(get())
        sink = connection.requests[0].stream(200, ())
        connection.channel.readConnectionLost()
        self.successResultOf(start(sink.write(b"x")))
        connection.clock.advance(1)
        self.failureResultOf(start(sink.write(b"x")), StreamAborted)
        sink.abort("gone")
        self.assertTrue(connection.wire.disconnecting)
        self.assertFalse(connection.wire.aborted)

    def test_all_pipelined_requests_are_answered(self) -> None:
        connection = Connection()
        connection.send(get(b"/1") + get(b"/2"))
        connection.channel.readConnectionLost()
        self.assertFalse(connection.requests[0].gone)
        ok(connection.requests[0])
        ok(connection.requests[1])
        self.assertEqual(len(answers(connection.sent, "GET", "GET")), 2)
        self.assertTrue(connection.wire.disconnecting)

    def test_what_is_gone_needs_no_garbage_collector(self) -> None:
        """Thousands of connections a second would be kept until that comes."""
        self.addCleanup(gc.enable)
        gc.disable()
        connection = Connection(dispatch=ok)
        connection.send(get())
        channel = weakref.ref(connection.channel)
        connection.channel.connectionLost()
        connection.requests.clear()
        del connection.channel
        self.assertIsNone(channel())

    def test_a_callback_that_fails_harms_no_other(self) -> None:
        connection = Connection()
        connection.send(get())
        done: list[int] = []

        def fail() -> None:
            raise ZeroDivisionError

        connection.requests[0].on_done(fail)
        connection.requests[0].on_done(lambda: done.append(1))
        connection.channel.connectionLost()
        self.assertEqual(done, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class TimeTests(SynchronousTestCase):
    limits = Limits(head_seconds=10, idle_seconds=100, body_seconds=20, linger_seconds=3)

    def connect(self, dispatch: Any = None) -> Connection:
        return Connection(dispatch, limits=self.limits)

    def pass_time(self, connection: Connection, seconds: int, data: bytes = b"") -> None:
        for _ in range(seconds):
            connection.clock.advance(1)
            if not connection.wire.closed and data:
                connection.send(data)

    def test_head_byte_by_byte(self) -> None:
        connection = self.connect()
        self.pass_time(connection, 12, b"a")
        self.assertEqual(answers(connection.sent)[0].status, 408)
        self.assertTrue(connection.wire.half_closed)
        self.pass_time(connection, 5)
        self.assertTrue(connection.wire.aborted)

    def test_nothing_at_all(self) -> None:
        connection = self.connect()
        self.pass_time(connection, 12)
        self.assertEqual(connection.sent, b"")
        self.assertTrue(connection.wire.disconnecting)

    def test_idle_is_longer(self) -> None:
        connection = self.connect(ok)
        connection.send(get())
        self.pass_time(connection, 90)
        self.assertFalse(connection.wire.closed)
        connection.send(get())
        self.pass_time(connection, 102)
        self.assertTrue(connection.wire.closed)

    def test_body_that_stalls(self) -> None:
        connection = self.connect(lambda request: let(read_all(request)))
        connection.send(post(b"a" * 50)[:-40])
        self.pass_time(connection, 30, b"a")
        self.assertFalse(connection.wire.closed)
        self.pass_time(connection, 22)
        self.assertEqual(answers(connection.sent)[0].status, 408)

    def test_streams_in_use_are_left_alone(self) -> None:
        for dispatch in (
            lambda request: None,
            lambda request: request.stream(200, ()) and None,
            lambda request: let(echo_raw(request)),
            lambda request: let(echo(request)),
        ):
            connection = self.connect(dispatch)
            connection.send(get(b"/", b"Content-Length: 10", method=b"POST"))
            if connection.requests[0].status == 0:
                connection.send(b"a" * 10)
            self.pass_time(connection, 1000)
            self.assertFalse(connection.wire.closed)
            connection.channel.connectionLost()

    def test_no_timer_without_connections(self) -> None:
        connection = self.connect()
        self.assertEqual(len(connection.clock.getDelayedCalls()), 1)
        connection.channel.connectionLost()
        self.assertEqual(connection.clock.getDelayedCalls(), [])


class EndTests(SynchronousTestCase):
    def test_the_servers_end(self) -> None:
        connection = Connection()
        connection.send(get())
        gone: list[int] = []
        connection.requests[0].on_gone(lambda: gone.append(1))
        ended = connection.factory.end("the server ends")
        self.assertNoResult(ended)
        self.assertEqual(gone, [1])
        self.assertTrue(connection.wire.disconnecting)
        ok(connection.requests[0])
        self.assertEqual(connection.sent, b"")
        connection.channel.connectionLost()
        self.successResultOf(ended)

    def test_cut_off(self) -> None:
        connection = Connection()
        ended = connection.factory.end("the server ends")
        ended.cancel()
        self.failureResultOf(ended, CancelledError)
        self.assertTrue(connection.wire.aborted)
        connection.channel.connectionLost()
