"""The channel over real sockets: tcp, unix and TLS."""

import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from dockerapi.http.counter import ConnectionCounter
from dockerapi.http.factory import HTTPFactory
from dockerapi.http.limits import Limits
from dockerapi.http.request import Request
from dockerapi.http.tlshalfclose import wrap
from tests.http.support import (
    Listener,
    answers,
    echo,
    echo_raw,
    get,
    in_thread,
    let,
    listen,
    make_certificates,
    receive_all,
)

BIG = 3_000_000


async def count(request: Request) -> None:
    total = 0
    while data := await request.body.read():
        total += len(data)
    request.respond(200, (), b"%d" % total)


def channel_of(request: Request) -> Any:
    """Return the channel that a request came on, to look into it."""
    return request._channel


# What is mixed into a case is not one itself, which would be run.
if TYPE_CHECKING:
    _Case = TestCase
else:
    _Case = object


class ConnectionMixin(_Case):
    """What holds on every kind of connection."""

    kind: str
    limits = Limits()

    async def serve(self, limits: Limits | None = None) -> Listener:
        self.requests: list[Request] = []
        self.arrived: Deferred[Request] = Deferred()
        self.factory = HTTPFactory(
            self.dispatch, listener=f"{self.kind}://x", limits=limits or self.limits
        )
        factory: Any = self.factory
        context = None
        if self.kind == "tls":
            with tempfile.TemporaryDirectory() as directory:
                options, context = make_certificates(Path(directory))
            factory = wrap(options, factory)
        listener = await listen(factory, self.kind, context)
        self.addCleanup(self.close, listener)
        return listener

    async def close(self, listener: Listener) -> None:
        await listener.close()
        for request in self.requests:
            if not request.done:
                request._channel.abort("the test is over")
        for _ in range(3000):
            if not self.factory.connections.open:
                return
            await deferLater(reactor, 0.02)
        self.fail("connections stay open")

    def dispatch(self, request: Request) -> None:
        self.requests.append(request)
        path = request.target
        if path == b"/ok":
            request.respond(200, (), b"OK")
        elif path == b"/big":
            request.respond(200, (), b"x" * BIG)
        elif path == b"/echo":
            let(echo(request))
        elif path == b"/count":
            let(count(request))
        elif path == b"/raw":
            let(echo_raw(request))
        if not self.arrived.called:
            self.arrived.callback(request)

    def connect(self, listener: Listener) -> Any:
        return listener.connect_tls() if self.kind == "tls" else listener.connect()

    def half_close(self, client: Any) -> None:
        if self.kind == "tls":
            client.shutdown()
        else:
            client.shutdown(socket.SHUT_WR)

    def finish(self, client: Any) -> bytes:
        """Read to the end, then close."""
        data = receive_all(client)
        if self.kind == "tls":
            client.shutdown()
        client.close()
        return data

    async def test_answers(self) -> None:
        listener = await self.serve()

        def run() -> bytes:
            client = self.connect(listener)
            client.sendall(get(b"/ok") * 2 + get(b"/big", b"Connection: close"))
            return self.finish(client)

        found = answers(await in_thread(run), "GET", "GET", "GET")
        self.assertEqual([len(answer.body) for answer in found], [2, 2, BIG])

    async def test_large_body_both_ways(self) -> None:
        listener = await self.serve()
        head = get(b"/echo", b"Content-Length: %d" % BIG, b"Connection: close", method=b"POST")
        payload = os.urandom(BIG)

        def run() -> bytes:
            client = self.connect(listener)
            client.sendall(head)
            received = b""
            for at in range(0, BIG, 50000):
                client.sendall(payload[at : at + 50000])
                received += client.recv(60000)
            return received + self.finish(client)

        (answer,) = answers(await in_thread(run), "POST")
        self.assertEqual(answer.body == payload, True)

    async def test_half_closed_client_of_a_hijacked_stream(self) -> None:
        listener = await self.serve()

        def run() -> bytes:
            client = self.connect(listener)
            client.sendall(get(b"/raw", b"Upgrade: tcp") + b"early ")
            received = b""
            while not received.endswith(b"early "):
                received += client.recv(65536)
            for _ in range(50):
                client.sendall(b"z" * 50000)
                received += client.recv(65536)
            self.half_close(client)
            return received + self.finish(client)

        _head, _, raw = (await in_thread(run)).partition(b"\r\n\r\n")
        self.assertEqual(raw == b"early " + b"z" * 2500000 + b"<end>", True)

    async def test_output_after_the_clients_end(self) -> None:
        listener = await self.serve()

        def run() -> bytes:
            client = self.connect(listener)
            client.sendall(get(b"/other"))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.half_close(client)
            return self.finish(client)

        running = in_thread(run)
        request = await self.arrived
        duplex = request.hijack(200, ())
        self.assertEqual(await duplex.read(), b"")
        await deferLater(reactor, 0.05)
        for _ in range(20):
            await duplex.write(b"y" * 100000)
        await duplex.close_write()
        data = await running
        self.assertEqual(data == b"y" * 2000000, True)

    async def test_our_end_first(self) -> None:
        listener = await self.serve()

        def run() -> bytes:
            client = self.connect(listener)
            client.sendall(get(b"/other"))
            received = receive_all(client)
            client.sendall(b"after" * 1000)
            self.half_close(client)
            client.close()
            return received

        running = in_thread(run)
        duplex = (await self.arrived).hijack(200, ())
        await duplex.write(b"out")
        await duplex.close_write()
        received = b""
        while data := await duplex.read():
            received += data
        self.assertEqual(received, b"after" * 1000)
        self.assertTrue((await running).endswith(b"\r\n\r\nout"))

    async def test_client_that_leaves(self) -> None:
        listener = await self.serve()
        client = await in_thread(self.connect, listener)
        await in_thread(client.sendall, get(b"/wait"))
        request = await self.arrived
        gone: Deferred[None] = Deferred()
        request.on_gone(lambda: gone.callback(None))
        await in_thread(client.close)
        await gone.addTimeout(60, reactor)
        self.assertTrue(request.gone)
        request.respond(200, (), b"late")

    async def test_unread_body_does_not_lose_the_answer(self) -> None:
        listener = await self.serve()
        size = 5_000_000

        def run() -> bytes:
            client = self.connect(listener)
            client.sendall(get(b"/ok", b"Content-Length: %d" % size, method=b"POST"))
            client.sendall(b"a" * size)
            time.sleep(0.2)
            return self.finish(client)

        (answer,) = answers(await in_thread(run), "POST", eof=True)
        self.assertEqual((answer.body, answer.header(b"connection")), (b"OK", b"close"))

    async def test_garbage(self) -> None:
        listener = await self.serve()

        def run() -> bytes:
            client = self.connect(listener)
            client.sendall(b"\x16\x03\x01\x02\x00\r\n" + os.urandom(1000) + b"\r\n\r\n")
            return self.finish(client)

        self.assertEqual(answers(await in_thread(run), eof=True)[0].status, 400)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_port_that_closes(self) -> None:
        listener = await self.serve()

        def run() -> bytes:
            idle, busy = self.connect(listener), self.connect(listener)
            idle.sendall(get(b"/ok"))
            idle.recv(65536)
            busy.sendall(get(b"/wait"))
            receive_all(idle)
            idle.close()
            return self.finish(busy)

        running = in_thread(run)
        while not any(request.target == b"/wait" for request in self.requests):
            await deferLater(reactor, 0.01)
        await listener.port.stopListening()
        await deferLater(reactor, 0.05)
        self.requests[-1].respond(200, (), b"finished")
        (answer,) = answers(await running)
        self.assertEqual((answer.body, answer.header(b"connection")), (b"finished", b"close"))

    async def test_nothing_stays(self) -> None:
        listener = await self.serve()

        def run() -> None:
            for path in (b"/ok", b"/wait", b"/raw"):
                client = self.connect(listener)
                client.sendall(get(path))
                client.close()

        await in_thread(run)
        for _ in range(50):
            if not self.factory.connections.open and len(self.requests) == 3:
                break
            for request in self.requests:
                if not request.status:
                    request.respond(200, ())
            await deferLater(reactor, 0.05)
        self.assertEqual(self.factory.connections.open, 0)
        self.assertTrue(all(request.done for request in self.requests))
        # What waits before the first write of a raw stream ends by itself.
        await deferLater(reactor, 0.02)


class TcpTests(ConnectionMixin, TestCase):
    kind = "tcp"

    async def test_peer(self) -> None:
        listener = await self.serve()
        client = await in_thread(listener.connect)
        await in_thread(client.sendall, get(b"/ok"))
        peer = (await self.arrived).peer
        host, port = client.getsockname()
        client.close()
        self.assertEqual(
            (peer.kind, peer.listener, peer.address), ("tcp", "tcp://x", f"{host}:{port}")
        )

    async def test_head_is_a_segment_of_its_own(self) -> None:
        listener = await self.serve()
        client = await in_thread(listener.connect)
        await in_thread(client.sendall, get(b"/other"))
        request = await self.arrived
        self.assertTrue(channel_of(request)._transport.getTcpNoDelay())
        request.hijack(101, ())
        client.setblocking(False)
        self.assertTrue(client.recv(65536).endswith(b"\r\n\r\n"))
        client.close()

    async def test_a_peer_that_vanishes_is_noticed(self) -> None:
        listener = await self.serve()
        client = await in_thread(listener.connect)
        await in_thread(client.sendall, get(b"/ok"))
        handle = channel_of(await self.arrived)._transport.getHandle()
        client.close()
        self.assertTrue(handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
            self.assertEqual(handle.getsockopt(socket.IPPROTO_TCP, option), 15)

    async def test_too_many_of_one_peer(self) -> None:
        listener = await self.serve(Limits(connections_per_peer=2))

        def run() -> bytes:
            clients = [listener.connect() for _ in range(3)]
            last = receive_all(clients[2])
            clients[0].sendall(get(b"/ok"))
            clients[0].recv(1000)
            for client in clients:
                client.close()
            return last

        answer = answers(await in_thread(run), eof=True)[0]
        self.assertEqual(answer.status, 503)

    async def test_too_many_in_all(self) -> None:
        listener = await self.serve(Limits(connections=2))

        def run() -> bytes:
            clients = [listener.connect() for _ in range(3)]
            last = receive_all(clients[2])
            clients[0].sendall(get(b"/ok"))
            clients[0].recv(1000)
            for client in clients:
                client.close()
            return last

        self.assertEqual(await in_thread(run), b"")


class UnixTests(ConnectionMixin, TestCase):
    kind = "unix"

    async def test_peer(self) -> None:
        listener = await self.serve()
        client = await in_thread(listener.connect)
        await in_thread(client.sendall, get(b"/ok"))
        peer = (await self.arrived).peer
        client.close()
        self.assertEqual(
            (peer.kind, peer.pid, peer.uid, peer.gid),
            ("unix", os.getpid(), os.getuid(), os.getgid()),
        )

    async def test_client_that_leaves_unnoticed(self) -> None:
        """Half-closed, or not read from because it has sent too many requests."""
        for half_closed in (True, False):
            listener = await self.serve(Limits(pipeline=1000))
            client = await in_thread(listener.connect)
            client.sendall(get(b"/other") * (1 if half_closed else 100))
            request = await self.arrived
            if half_closed:
                duplex = request.hijack(101, ())
                client.shutdown(socket.SHUT_WR)
                self.assertEqual(await duplex.read(), b"")
            gone: Deferred[None] = Deferred()
            request.on_gone(partial(gone.callback, None))
            await deferLater(reactor, 0.1)
            self.assertFalse(request.gone)
            client.close()
            await gone.addTimeout(60, reactor)

    async def test_what_a_client_sent_before_it_left_is_read(self) -> None:
        listener = await self.serve(Limits(body_buffer=1000))
        client = await in_thread(listener.connect)
        client.sendall(get(b"/other"))
        duplex = (await self.arrived).hijack(101, ())
        self.assertTrue((await in_thread(client.recv, 65536)).endswith(b"\r\n\r\n"))
        await in_thread(client.sendall, b"x" * 150000)
        client.close()
        await deferLater(reactor, 1.5)
        received = 0
        while data := await duplex.read():
            received += len(data)
        self.assertEqual(received, 150000)


class TlsTests(ConnectionMixin, TestCase):
    kind = "tls"

    async def test_peer(self) -> None:
        listener = await self.serve()
        client = await in_thread(self.connect, listener)
        await in_thread(client.sendall, get(b"/ok"))
        peer = (await self.arrived).peer
        client.close()
        self.assertEqual((peer.kind, peer.certificate), ("tls", "CN=client"))

    async def test_no_handshake(self) -> None:
        listener = await self.serve(Limits(head_seconds=1))

        def run() -> bytes:
            with self.assertRaises(ConnectionResetError):
                receive_all(listener.connect())
            return b""

        await in_thread(run)

    async def test_plain_text(self) -> None:
        listener = await self.serve()

        def run() -> bytes:
            client = listener.connect()
            client.sendall(get(b"/ok"))
            return receive_all(client)

        answer = await in_thread(run)
        self.assertTrue(answer.startswith(b"HTTP/1.0 400 "))
        self.assertIn(b"Client sent an HTTP request to an HTTPS server.", answer)
        self.assertEqual(self.requests, [])
        self.assertEqual(self.flushLoggedErrors(SSL.Error), [])


FULL = """
import resource, sys
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from dockerapi.http.factory import HTTPFactory
from dockerapi.http.limits import Limits
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
factory = HTTPFactory(
    lambda request: request.respond(200, (), b"OK"), listener="x",
    limits=Limits(spare_descriptors=int(sys.argv[2])),
)
serverFromString(reactor, "unix:" + sys.argv[1]).listen(factory)
reactor.callWhenRunning(print, "up", flush=True)
reactor.run()
"""


class DescriptorTests(TestCase):
    """Out of file descriptors, the server goes on serving."""

    def run_server(self, spare: int) -> None:
        with tempfile.TemporaryDirectory(prefix="http-") as directory:
            path = directory + "/socket"
            with subprocess.Popen(
                [sys.executable, "-c", FULL, path, str(spare)], stdout=subprocess.PIPE
            ) as server:
                try:
                    assert server.stdout is not None
                    server.stdout.readline()
                    self.fill(path)
                finally:
                    server.terminate()

    def fill(self, path: str) -> None:
        clients = [self.connect(path) for _ in range(100)]
        time.sleep(0.5)
        self.assertEqual(self.ask(clients[0]), b"OK")
        for client in clients[1:]:
            client.close()
        time.sleep(0.2)
        with self.connect(path) as client:
            self.assertEqual(self.ask(client), b"OK")
        clients[0].close()

    def connect(self, path: str) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        for _ in range(100):
            try:
                client.connect(path)
                return client
            except BlockingIOError:  # the port's backlog is full
                time.sleep(0.02)
        raise AssertionError("the server does not accept any more")

    def ask(self, client: socket.socket) -> bytes:
        client.sendall(get())
        return client.recv(65536).partition(b"\r\n\r\n")[2]

    def test_limit_below_the_descriptors(self) -> None:
        self.run_server(30)

    def test_no_descriptor_left(self) -> None:
        self.run_server(-1000)

    def test_total_leaves_descriptors(self) -> None:
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        connections = ConnectionCounter(Limits(connections=10**9, spare_descriptors=soft - 3))
        for number in range(max(3, soft // 2)):
            self.assertTrue(connections.enter(number))
        self.assertFalse(connections.enter("last"))
