"""The API as a resource below others, and its life."""

from __future__ import annotations

from typing import Any

from klein import Klein
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from dockerapi.api.settings import ApiSettings
from dockerapi.http.request import serve_resource
from tests.api.support import Api, lost, waiting
from tests.http.support import Connection, answers, get


class MountedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api(ApiSettings(allowed_hosts=("docker",)))
        self.api.everything("ImageInspect", "SystemInfo")
        self.addCleanup(self.api.resource.close)

    def ask(self, root: Any, path: bytes) -> Any:
        connection = Connection(serve_resource(root))
        connection.send(get(path))
        return answers(connection.sent)[0]

    def check(self, root: Any, prefix: bytes) -> None:
        self.assertEqual(self.ask(root, prefix + b"/info").body, b'{"Job":"SystemInfo"}\n')
        answer = self.ask(root, prefix + b"/v1.41/images/a%2Fb/c/json?x=%20")
        self.assertEqual(answer.status, 200)
        job = self.api.jobs[-1]
        self.assertEqual((job.name, job.args), ("ImageInspect", ("a/b/c",)))
        self.assertEqual(job.envelope.path, "/images/a%2Fb/c/json")
        self.assertEqual((str(job.version), job.envelope.query), ("1.41", "x=%20"))
        answer = self.ask(root, prefix + b"/nope")
        self.assertEqual((answer.status, answer.body), (404, b'{"message":"page not found"}\n'))
        answer = self.ask(root, prefix + b"/images//json?a=b")
        self.assertEqual(answer.header(b"location"), prefix + b"/images/json?a=b")

    def test_as_the_root(self) -> None:
        self.check(self.api.resource, b"")

    def test_below_a_resource(self) -> None:
        root = Resource()
        root.putChild(b"docker", self.api.resource)
        self.check(root, b"/docker")

    def test_below_two_resources(self) -> None:
        root, middle = Resource(), Resource()
        root.putChild(b"a b", middle)
        middle.putChild(b"docker", self.api.resource)
        self.check(root, b"/a%20b/docker")

    def test_below_another_klein(self) -> None:
        app = Klein()
        app.route("/docker/", branch=True)(lambda request: self.api.resource)
        app.route("/hello")(lambda request: b"hello")
        self.check(app.resource(), b"/docker")
        self.assertEqual(self.ask(app.resource(), b"/hello").body, b"hello")

    def test_the_routes_own_klein(self) -> None:
        answer = self.ask(self.api.resource._router.app.resource(), b"/v1.41/info")
        self.assertEqual((answer.status, answer.body), (200, b'{"Job":"SystemInfo"}\n'))

    def test_a_client_that_leaves_cancels_below_a_klein_too(self) -> None:
        ended: list[str] = []
        self.api.engine.register("SystemEvents", waiting(ended))
        app = Klein()
        app.route("/docker/", branch=True)(lambda request: self.api.resource)
        connection = Connection(serve_resource(app.resource()))
        connection.send(get(b"/docker/events"))
        connection.channel.connectionLost(lost())
        self.assertEqual(ended, ["cancelled"])
        self.assertEqual(self.flushLoggedErrors(), [])
