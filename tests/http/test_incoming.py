"""Bodies of requests as they come: dispatched early, with backpressure, drained or refused."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.http.framing import chunk
from dockerapi.http.limits import Limits
from dockerapi.wire.duplex import StreamAborted
from tests.http.support import (
    Connection,
    answers,
    chunked,
    echo,
    get,
    let,
    ok,
    post,
    start,
)


class BodyTests(SynchronousTestCase):
    def test_dispatched_before_the_body(self) -> None:
        connection = Connection()
        whole = post(b"abcdef", b"X: y")
        connection.send(whole[:-6])
        (request,) = connection.requests
        self.assertEqual(request.length, 6)
        read = start(request.body.read())
        self.assertNoResult(read)
        connection.send(b"abc")
        self.assertEqual(self.successResultOf(read), b"abc")
        connection.send(b"def" + get(b"/next"))
        self.assertEqual(self.successResultOf(start(request.body.read(2))), b"de")
        self.assertEqual(self.successResultOf(start(request.body.read())), b"f")
        self.assertEqual(self.successResultOf(start(request.body.read())), b"")
        ok(request)
        self.assertEqual(connection.requests[1].target, b"/next")

    def test_answer_while_the_body_comes(self) -> None:
        for data in (post(b"abcdef"), chunked(b"ab", b"cdef")):
            for size in (1, 3, 1000):
                connection = Connection(lambda request: let(echo(request)))
                connection.send(data + get(b"/next"), size)
                first, _second = answers(connection.sent, "POST", "GET")
                self.assertEqual(first.body, b"abcdef")
                self.assertEqual(len(connection.requests), 2)

    def test_backpressure(self) -> None:
        connection = Connection(limits=Limits(body_buffer=100))
        connection.send(get(b"/", b"Content-Length: 1000", method=b"POST"))
        connection.send(b"a" * 90)
        self.assertTrue(connection.wire.reading)
        connection.send(b"b" * 90)
        self.assertFalse(connection.wire.reading)
        self.successResultOf(start(connection.requests[0].body.read()))
        self.assertTrue(connection.wire.reading)

    def test_continue_when_first_read(self) -> None:
        connection = Connection()
        connection.send(get(b"/", b"Content-Length: 3", b"Expect: 100-continue", method=b"POST"))
        self.assertEqual(connection.sent, b"")
        read = start(connection.requests[0].body.read())
        self.assertEqual(connection.sent, b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(b"abc")
        self.assertEqual(self.successResultOf(read), b"abc")
        ok(connection.requests[0])
        self.assertEqual(answers(connection.sent, "POST")[0].status, 200)
        self.assertFalse(connection.wire.closed)

    def test_answer_instead_of_continue(self) -> None:
        connection = Connection(ok)
        connection.send(get(b"/", b"Content-Length: 3", b"Expect: 100-continue", method=b"POST"))
        self.assertTrue(connection.sent.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"\r\nConnection: close\r\n", connection.sent)
        self.assertTrue(connection.wire.half_closed)

    def test_small_rest_is_drained(self) -> None:
        connection = Connection(ok)
        whole = post(b"a" * 1000)
        connection.send(whole[:-500])
        self.assertEqual(len(connection.requests), 1)
        connection.send(whole[-500:] + get(b"/next"))
        self.assertEqual(connection.requests[1].target, b"/next")
        self.assertFalse(connection.wire.closed)

    def test_large_rest_closes_without_reset(self) -> None:
        connection = Connection(ok)
        connection.send(get(b"/", b"Content-Length: 100000000", method=b"POST"))
        self.assertIn(b"\r\nConnection: close\r\n", connection.sent)
        self.assertTrue(connection.wire.half_closed)
        self.assertFalse(connection.wire.disconnecting)
        connection.send(b"a" * 100000)
        connection.channel.readConnectionLost()
        self.assertTrue(connection.wire.disconnecting)

    def test_large_chunked_rest(self) -> None:
        connection = Connection(ok, limits=Limits(drain=100))
        connection.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        connection.send(chunk(b"a" * 90))
        self.assertFalse(connection.wire.half_closed)
        connection.send(chunk(b"a" * 90))
        self.assertTrue(connection.wire.half_closed)

    def test_malformed_chunks(self) -> None:
        connection = Connection()
        connection.send(get(b"/", b"Transfer-Encoding: chunked", method=b"POST"))
        read = start(connection.requests[0].body.read())
        connection.send(b"zzz\r\n")
        self.failureResultOf(read, StreamAborted)
        self.assertEqual(answers(connection.sent)[0].status, 400)
        self.assertTrue(connection.wire.closed)
        ok(connection.requests[0])
        self.assertEqual(connection.sent.count(b"HTTP/1.1"), 1)

    def test_client_that_leaves_in_the_body(self) -> None:
        connection = Connection()
        connection.send(post(b"abc")[:-1])
        request = connection.requests[0]
        self.assertEqual(self.successResultOf(start(request.body.read())), b"ab")
        read = start(request.body.read())
        connection.channel.readConnectionLost()
        self.failureResultOf(read, StreamAborted)
        self.assertTrue(request.gone)

    def test_reader_that_is_cancelled(self) -> None:
        connection = Connection()
        connection.send(post(b"abc")[:-3])
        read = start(connection.requests[0].body.read())
        read.cancel()
        self.failureResultOf(read, CancelledError)
        connection.send(b"abc")
        self.assertEqual(self.successResultOf(start(connection.requests[0].body.read())), b"abc")
