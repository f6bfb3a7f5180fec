"""What a job answers, as it goes out: whole, as a stream, as the connection itself."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine import errors
from dockerapi.engine.answers import Answer, Encoded, Hijack, Response, Stream
from dockerapi.engine.job import Job
from dockerapi.model.malformed import Malformed
from dockerapi.wire.duplex import Duplex, Sink
from tests.api.support import Api, answering, failing, lost, waiting
from tests.http.support import answers, get

UPGRADE = (b"Connection: Upgrade", b"Upgrade: tcp")


class WholeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api()

    def test_json(self) -> None:
        self.api.engine.register("SystemInfo", answering({"a": [1, None, "é"]}))
        answer = self.api.ask("/info")
        self.assertEqual((answer.status, answer.body), (200, '{"a":[1,null,"é"]}\n'.encode()))
        self.assertEqual(answer.header(b"content-type"), b"application/json")
        self.assertEqual(answer.header(b"content-length"), b"20")

    def test_encoded(self) -> None:
        self.api.engine.register("ImageList", answering(Encoded(b"[]\n")))
        self.assertEqual(self.api.ask("/images/json").body, b"[]\n")

    def test_a_version_is_not_sent_what_it_did_not_have(self) -> None:
        network = {"Name": "n", "Status": {"IPAM": {}}}
        for answer in (network, Encoded(b'{"Name":"n","Status":{"IPAM":{}}}')):
            api = Api()
            api.engine.register("NetworkInspect", answering(answer))
            self.assertEqual(api.ask("/v1.51/networks/n").body, b'{"Name":"n"}\n')
            self.assertIn(b"Status", api.ask("/v1.52/networks/n").body)

    def test_the_rows_status(self) -> None:
        self.api.engine.register("ContainerCreate", answering({"Id": "x"}))
        self.api.engine.register("ContainerStart", answering(None))
        self.assertEqual(self.api.ask("/containers/create", method="POST").status, 201)
        answer = self.api.ask("/containers/x/start", method="POST")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertIsNone(answer.header(b"content-type"))

    def test_a_response_goes_out_as_it_is(self) -> None:
        headers = [(b"X-Thing", b"1"), (b"Content-Type", b"x/y")]
        self.api.engine.register(
            "SystemInfo", answering(Response(418, headers, b"short", "Teapot"))
        )
        answer = self.api.ask("/info")
        self.assertEqual((answer.status, answer.reason, answer.body), (418, b"Teapot", b"short"))
        self.assertEqual(answer.header(b"x-thing"), b"1")
        self.assertIsNone(answer.header(b"api-version"))

    def test_a_response_to_head_tells_a_length(self) -> None:
        self.api.engine.register("ContainerArchiveInfo", answering(Response(200, length=77)))
        answer = self.api.ask("/containers/x/archive?path=/", method="HEAD")
        self.assertEqual((answer.header(b"content-length"), answer.body), (b"77", b""))


class ErrorTests(SynchronousTestCase):
    def test_every_class_has_its_status(self) -> None:
        for error, status in (
            (errors.InvalidParameter("no"), 400),
            (Malformed("no"), 400),
            (errors.Unauthorized("no"), 401),
            (errors.Forbidden("no"), 403),
            (errors.NotFound("no"), 404),
            (errors.Conflict("no"), 409),
            (errors.EngineError("no"), 500),
            (errors.NotSupported("no"), 501),
            (errors.Unavailable("no"), 503),
            (errors.Cancelled("no"), 503),
        ):
            api = Api()
            api.engine.register("SystemInfo", failing(error))
            answer = api.ask("/info")
            self.assertEqual((answer.status, answer.body), (status, b'{"message":"no"}\n'))
            self.assertEqual(answer.header(b"content-type"), b"application/json")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_not_modified_has_no_body(self) -> None:
        api = Api()
        api.engine.register("ContainerStart", failing(errors.NotModified("already")))
        answer = api.ask("/containers/x/start", method="POST")
        self.assertEqual((answer.status, answer.body), (304, b""))
        self.assertIsNone(answer.header(b"content-type"))

    def test_a_defect_is_told_to_the_log_alone(self) -> None:
        api = Api()
        api.engine.register("SystemInfo", failing(KeyError("the secret")))
        answer = api.ask("/info")
        self.assertEqual(answer.status, 500)
        self.assertNotIn(b"secret", answer.body)
        (logged,) = self.flushLoggedErrors(KeyError)
        self.assertIn("in handler", logged.getTraceback())

    def test_an_answer_that_cannot_be_encoded(self) -> None:
        api = Api()
        api.engine.register("SystemInfo", answering(object()))
        answer = api.ask("/info")
        self.assertEqual(answer.status, 500)
        self.assertIn("internal server error", json.loads(answer.body)["message"])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual(api.engine.running, ())

    def test_the_connection_survives_an_error(self) -> None:
        api = Api()
        api.engine.register("SystemPing", answering(None))
        connection = api.connect()
        connection.send(get(b"/info") + get(b"/nope") + get(b"/_ping"))
        statuses = [answer.status for answer in answers(connection.sent, *["GET"] * 3)]
        self.assertEqual(statuses, [501, 404, 200])

    def test_an_engine_that_starts_or_ends(self) -> None:
        from dockerapi.engine.engine import Engine

        api = Api(engine=Engine(logging=False))
        api.engine.register("SystemInfo", answering({}))
        api.engine._closing = True
        self.assertEqual(api.message("/info"), (503, "the server is shutting down"))


class Served:
    """A stream under a test's hand.

    :ivar stream: the sink or duplex, once it is served.
    :ivar end: fired to end the serving.
    :ivar outcome: how the serving ended.
    """

    def __init__(self) -> None:
        self.stream: Any = None
        self.end: Deferred[None] = Deferred()
        self.outcome = ""

    async def __call__(self, stream: Any) -> None:
        self.stream = stream
        try:
            await self.end
        except CancelledError:
            self.outcome = "cancelled"
            raise
        except BaseException as error:
            self.outcome = type(error).__name__
            raise
        self.outcome = "ended"


async def greet(sink: Sink) -> None:
    """Write in two parts."""
    await sink.write(b"hello ")
    await sink.write(b"world")


class StreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api()
        self.served = Served()

    def events(self, answer: Answer) -> Any:
        """Ask for the events, which are `answer`; return the connection."""
        self.api.engine.register("SystemEvents", answering(answer))
        connection = self.api.connect()
        connection.send(get(b"/events"))
        return connection

    def test_the_head_goes_out_before_anything_is_served(self) -> None:
        connection = self.events(Stream(self.served))
        self.assertIn(b"200 OK", connection.sent)
        self.assertTrue(connection.sent.endswith(b"\r\n\r\n"))
        self.assertIsNotNone(self.served.stream)
        self.assertEqual(len(self.api.engine.running), 1)
        self.served.end.callback(None)
        self.assertEqual(self.api.engine.running, ())
        self.assertEqual(answers(connection.sent)[0].body, b"")

    def test_stream(self) -> None:
        headers = [(b"X-Docker-Container-Path-Stat", b"e30=")]
        connection = self.events(Stream(greet, "application/x-tar", headers))
        (answer,) = answers(connection.sent)
        self.assertEqual((answer.status, answer.body), (200, b"hello world"))
        self.assertEqual(answer.header(b"content-type"), b"application/x-tar")
        self.assertEqual(answer.header(b"x-docker-container-path-stat"), b"e30=")
        self.assertEqual(answer.header(b"transfer-encoding"), b"chunked")

    def test_a_stream_of_known_length(self) -> None:
        (answer,) = answers(self.events(Stream(greet, length=11)).sent)
        self.assertEqual(answer.header(b"content-length"), b"11")
        self.assertEqual(answer.body, b"hello world")

    def test_a_stream_that_is_too_short_breaks_off(self) -> None:
        self.assertTrue(self.events(Stream(greet, length=12)).wire.aborted)

    def test_a_responses_stream(self) -> None:
        connection = self.events(Response(200, [(b"X-A", b"b")], greet))
        self.assertEqual(answers(connection.sent)[0].body, b"hello world")

    def test_an_error_in_band(self) -> None:
        connection = self.events(Stream(self.served, error_lines=True))
        self.served.end.errback(errors.NotFound("no <such> image"))
        (answer,) = answers(connection.sent)
        self.assertEqual(
            answer.body,
            b'{"errorDetail":{"message":"no \\u003csuch\\u003e image"},'
            b'"error":"no \\u003csuch\\u003e image"}\r\n',
        )
        self.assertEqual(self.api.engine.metrics.jobs["SystemEvents"].failed, 1)

    def test_an_error_without_words_breaks_off(self) -> None:
        connection = self.events(Stream(self.served))
        self.served.end.errback(errors.EngineError("no"))
        self.assertTrue(connection.wire.aborted)
        self.assertFalse(connection.sent.endswith(b"0\r\n\r\n"))

    def test_a_defect_breaks_off_and_is_logged(self) -> None:
        connection = self.events(Stream(self.served, error_lines=True))
        self.served.end.errback(KeyError("x"))
        self.assertTrue(connection.wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_a_client_that_leaves_cancels_the_stream(self) -> None:
        connection = self.events(Stream(self.served))
        connection.channel.connectionLost(lost())
        self.assertEqual(self.served.outcome, "cancelled")
        self.assertEqual(self.api.engine.running, ())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_client_that_leaves_cancels_the_job(self) -> None:
        ended: list[str] = []
        self.api.engine.register("ContainerWait", waiting(ended))
        connection = self.api.connect()
        connection.send(get(b"/containers/x/wait", method=b"POST"))
        self.assertEqual(len(self.api.engine.running), 1)
        connection.channel.connectionLost(lost())
        self.assertEqual(ended, ["cancelled"])
        self.assertEqual(self.api.engine.running, ())
        self.assertEqual(connection.sent, b"")

    def test_a_stream_that_nobody_will_serve_is_abandoned(self) -> None:
        ready: Deferred[None] = Deferred()

        async def late(job: Job) -> Answer:
            await ready
            return Stream(self.served)

        self.api.engine.register("ContainerExport", late, detached=True)
        connection = self.api.connect()
        connection.send(get(b"/containers/x/export"))
        connection.channel.connectionLost(lost())
        ready.callback(None)
        self.assertIsNone(self.served.stream)
        self.assertEqual(self.flushLoggedErrors(), [])


class HijackTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api()
        self.served = Served()

    def attach(self, answer: Hijack, *headers: bytes) -> Any:
        """Attach to a container; return the connection."""
        self.api.engine.register("ContainerAttach", answering(answer))
        connection = self.api.connect()
        connection.send(get(b"/containers/x/attach?stream=1", *headers, method=b"POST"))
        return connection

    def head(self, connection: Any) -> list[bytes]:
        head: bytes = connection.sent
        self.assertTrue(head.endswith(b"\r\n\r\n"))
        return head.split(b"\r\n")

    def test_an_upgrade(self) -> None:
        multiplexed = "application/vnd.docker.multiplexed-stream"
        lines = self.head(self.attach(Hijack(self.served, multiplexed), *UPGRADE))
        self.assertEqual(lines[0], b"HTTP/1.1 101 UPGRADED")
        self.assertIn(b"Content-Type: " + multiplexed.encode(), lines)
        self.assertIn(b"Connection: Upgrade", lines)
        self.assertIn(b"Upgrade: tcp", lines)
        self.assertIn(b"Api-Version: 1.55", lines)

    def test_without_an_upgrade_it_is_always_a_raw_stream(self) -> None:
        multiplexed = "application/vnd.docker.multiplexed-stream"
        lines = self.head(self.attach(Hijack(self.served, multiplexed)))
        self.assertEqual(lines[0], b"HTTP/1.1 200 OK")
        self.assertIn(b"Content-Type: application/vnd.docker.raw-stream", lines)
        self.assertFalse(any(line.startswith(b"Content-Length") for line in lines))
        self.assertFalse(any(line.startswith(b"Transfer-Encoding") for line in lines))

    def test_a_head_of_ones_own(self) -> None:
        answer = Hijack(self.served, status=101, reason="YES", headers=[(b"Upgrade", b"h2c")])
        self.assertEqual(
            self.head(self.attach(answer, *UPGRADE)),
            [b"HTTP/1.1 101 YES", b"Upgrade: h2c", b"", b""],
        )

    def test_bytes_pass_both_ways(self) -> None:
        async def shout(duplex: Duplex) -> None:
            while data := await duplex.read():
                await duplex.write(data.upper())
            await duplex.write(b"bye")

        connection = self.attach(Hijack(shout), *UPGRADE)
        connection.send(b"hello")
        self.assertTrue(connection.sent.endswith(b"\r\n\r\nHELLO"))
        connection.channel.readConnectionLost()
        self.assertTrue(connection.sent.endswith(b"HELLObye"))
        self.assertTrue(connection.wire.closed)
        self.assertEqual(self.api.engine.running, ())

    def test_a_client_that_leaves_cancels_it(self) -> None:
        connection = self.attach(Hijack(self.served), *UPGRADE)
        connection.channel.connectionLost(lost())
        self.assertEqual(self.served.outcome, "cancelled")
        self.assertEqual(self.api.engine.running, ())

    def test_a_failure_breaks_off(self) -> None:
        connection = self.attach(Hijack(self.served), *UPGRADE)
        self.served.end.errback(KeyError("x"))
        self.assertTrue(connection.wire.aborted)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
