"""Resources of `twisted.web` and Klein, served by the channel."""

from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import Data, File

from dockerapi.http.request import Request, serve_resource
from tests.http.support import Connection, answers, get, let, start


class Tree(Resource):
    def getChild(self, path: bytes, request: Request) -> Resource:
        return Resource.getChild(self, path, request)

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"x-one", b"1")
        request.addCookie(b"a", b"b")
        host = request.getRequestHostname()
        return b"%b|%b|%r|%r" % (request.path, host, request.args, request.postpath)

    def render_POST(self, request: Request) -> int:
        async def run() -> None:
            content = await request.load_content(10)
            request.setResponseCode(201, b"Made")
            request.write(content.read())
            request.write(b"!")
            request.finish()

        let(run())
        return NOT_DONE_YET

    def render_PUT(self, request: Request) -> bytes:
        raise ZeroDivisionError


class ResourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Tree()
        self.root.putChild(b"tree", self.root)
        self.root.putChild(b"data", Data(b"abc", "text/plain"))
        self.connection = Connection(serve_resource(self.root))

    def test_provides_irequest(self) -> None:
        self.connection.send(get(b"/data"))
        request = self.connection.requests[0]
        self.assertTrue(IRequest.providedBy(request))
        for name in IRequest.names():
            if name != "getSession":
                self.assertTrue(hasattr(request, name), name)
        self.assertEqual(request.getAllHeaders()[b"host"], b"docker")
        self.assertEqual(request.getClientIP(), "192.168.1.1")
        self.assertEqual((request.isSecure(), request.clientproto), (False, b"HTTP/1.1"))

    def test_get(self) -> None:
        self.connection.send(get(b"/tree?a=1&a=2&b=", b"Cookie: c=d"))
        (answer,) = answers(self.connection.sent)
        self.assertEqual(answer.body, b"/tree|docker|{b'a': [b'1', b'2'], b'b': [b'']}|[]")
        self.assertEqual(answer.header(b"x-one"), b"1")
        self.assertEqual(answer.header(b"set-cookie"), b"a=b")
        self.assertEqual(self.connection.requests[0].getCookie(b"c"), b"d")
        self.assertEqual(len(self.connection.wire.writes), 1)

    def test_head_and_missing(self) -> None:
        self.connection.send(get(b"/data", method=b"HEAD") + get(b"/none/x"))
        head, missing = answers(self.connection.sent, "HEAD", "GET")
        self.assertEqual((head.status, head.header(b"content-length")), (200, b"3"))
        self.assertEqual(missing.status, 404)

    def test_post_streams_its_answer(self) -> None:
        self.connection.send(get(b"/tree", b"Content-Length: 3", method=b"POST") + b"abc")
        (answer,) = answers(self.connection.sent, "POST")
        self.assertEqual((answer.status, answer.reason, answer.body), (201, b"Made", b"abc!"))

    def test_content_is_bounded(self) -> None:
        connection = Connection()
        connection.send(get(b"/", b"Content-Length: 30", method=b"PUT") + b"a" * 30)
        self.failureResultOf(start(connection.requests[0].load_content(20)), ValueError)

    def test_failure(self) -> None:
        self.connection.send(get(b"/tree", method=b"PUT"))
        self.assertEqual(answers(self.connection.sent, "PUT")[0].status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_producer(self) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"z" * 300000)
        self.root.putChild(b"file", File(path))
        self.connection.send(get(b"/file"))
        channel = self.connection.channel
        from twisted.internet.task import _theCooperator

        for _ in range(10):
            if self.connection.requests[0].done:
                break
            _theCooperator._tick()
        (answer,) = answers(self.connection.sent)
        self.assertEqual(len(answer.body), 300000)
        self.assertIsNone(channel.out.producer)

    def test_notify_finish(self) -> None:
        connection = Connection()
        connection.send(get() + get())
        done = connection.requests[0].notifyFinish()
        connection.requests[0].finish()
        self.assertIsNone(self.successResultOf(done))
        gone = connection.requests[1].notifyFinish()
        connection.channel.connectionLost()
        self.failureResultOf(gone, ConnectionLost)
        connection.requests[1].write(b"late")
        connection.requests[1].finish()


class KleinTests(SynchronousTestCase):
    def test_routes(self) -> None:
        app: Any = Klein()
        waiting: Deferred[bytes] = Deferred()

        @app.route("/<name>/json", methods=["GET"])
        def show(request: Request, name: str) -> bytes:
            request.setHeader(b"Content-Type", b"text/plain")
            return name.encode()

        @app.route("/later")
        def later(request: Request) -> Deferred[bytes]:
            return waiting

        connection = Connection(serve_resource(app.resource()))
        connection.send(get(b"/a%20b/json") + get(b"/later") + get(b"/none"))
        waiting.callback(b"now")
        found = answers(connection.sent, "GET", "GET", "GET")
        self.assertEqual([a.status for a in found], [200, 200, 404])
        self.assertEqual([a.body for a in found[:2]], [b"a b", b"now"])
