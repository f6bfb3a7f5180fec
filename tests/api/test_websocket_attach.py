"""Attaching by WebSocket: over a channel in memory, and with docker-py over a real port."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from dockerapi.engine.answers import Hijack
from dockerapi.http.factory import HTTPFactory
from dockerapi.wire.duplex import Duplex
from dockerapi.wire.websocket import BINARY, CLOSE, TEXT, encode_frame
from tests.api.support import Api, answering
from tests.http.support import answers, get, in_thread, listen

HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
PATH = b"/containers/x/attach/ws?stream=1"


async def shout(duplex: Duplex) -> None:
    """Send back in capitals what comes, until it ends."""
    while data := await duplex.read():
        await duplex.write(data.upper())


def api() -> Api:
    """Return an API with one container, which shouts."""
    made = Api()
    made.engine.register("ContainerAttachWebsocket", answering(Hijack(shout)))
    made.engine.register("ContainerInspect", answering({"Id": "x", "Config": {"Tty": True}}))
    return made


class MemoryTests(SynchronousTestCase):
    def test_a_conversation(self) -> None:
        made = api()
        connection = made.connect()
        connection.send(get(PATH, *HANDSHAKE))
        head, _, rest = connection.sent.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", head)
        self.assertEqual(rest, b"")
        mask = b"abcd"
        connection.send(encode_frame(TEXT, b"hello", mask=mask))
        connection.send(encode_frame(CLOSE, b"\x03\xe8", mask=mask))
        self.assertEqual(
            connection.sent.partition(b"\r\n\r\n")[2],
            encode_frame(BINARY, b"HELLO") + encode_frame(CLOSE, b"\x03\xe8"),
        )
        self.assertTrue(connection.wire.closed)
        self.assertEqual(made.engine.running, ())

    def test_bad_frames_close_with_1002(self) -> None:
        connection = api().connect()
        connection.send(get(PATH, *HANDSHAKE))
        connection.send(encode_frame(TEXT, b"not masked"))
        self.assertTrue(connection.sent.endswith(encode_frame(CLOSE, b"\x03\xea")))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_no_handshake(self) -> None:
        made = api()
        connection = made.connect()
        connection.send(get(PATH))
        (answer,) = answers(connection.sent)
        self.assertEqual(answer.status, 400)
        self.assertIn(b"not a websocket handshake", answer.body)
        self.assertEqual(made.engine.running, ())


class DockerPyTests(TestCase):
    def attach(self, port: int) -> bytes:
        """Attach with docker-py and say hello; runs in a thread."""
        import docker

        client = docker.APIClient(f"tcp://127.0.0.1:{port}", version="1.41", timeout=60)
        try:
            stream: Any = client.attach_socket("x", {"stream": 1, "stdin": 1, "stdout": 1}, ws=True)
            stream.send("hello")
            received: bytes = stream.recv()
            stream.close()
            return received
        finally:
            client.close()

    def test_attach_socket(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.check())

    async def check(self) -> None:
        if not all(find_spec(name) for name in ("docker", "websocket")):
            raise SkipTest("docker[websockets] is not installed")
        made = api()
        factory = HTTPFactory(made.resource.dispatch, listener="tcp://127.0.0.1")
        listener = await listen(factory, "tcp")
        try:
            received = await in_thread(self.attach, listener.port.getHost().port)
        finally:
            await listener.close()
            await factory.end("the test has ended")
        self.assertEqual(received, b"HELLO")
