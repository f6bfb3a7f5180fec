"""The gate: who comes early waits, in order, and nobody is lost."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from dockerapi.server.endpoints import UnixAdoptedEndpoint, UnixSocketEndpoint
from dockerapi.server.gate import Gate
from dockerapi.server.limits import raise_descriptor_limit

CLIENTS = 1000


class Numbering(Factory):
    """Sends each connection its number, in the order in which they were accepted."""

    noisy = False

    def __init__(self) -> None:
        self.accepted = 0

    def buildProtocol(self, addr: object) -> Protocol:
        self.accepted += 1
        return Greeter(self.accepted)


class Greeter(Protocol):
    def __init__(self, number: int) -> None:
        self.number = number

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(str(self.number).encode())
        self.transport.loseConnection()


class WaitingTests(TestCase):
    """1,000 clients wait on one port, which then opens."""

    def setUp(self) -> None:
        raise_descriptor_limit()
        self.gate = Gate()
        self.addCleanup(self.gate.stop)
        self.numbering = Numbering()
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-gate-")
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "d.sock")

    async def hold_and_open(
        self, endpoint: IStreamServerEndpoint, connect: Callable[[], socket.socket]
    ) -> None:
        await self.gate.listen(endpoint, self.numbering)
        with ExitStack() as stack:
            clients = [stack.enter_context(connect()) for _ in range(CLIENTS)]
            await deferLater(reactor, 0.05)
            self.assertEqual(self.numbering.accepted, 0)
            self.gate.open()
            answers = [await self.read(client) for client in clients]
        self.assertEqual(answers, list(range(1, CLIENTS + 1)))

    async def read(self, client: socket.socket) -> int:
        client.setblocking(False)
        for _ in range(500):
            try:
                return int(client.recv(16))
            except BlockingIOError:
                await deferLater(reactor, 0.01)
        raise AssertionError("a client was lost")

    def connect_unix(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        return client

    def test_unix(self) -> Deferred[None]:
        endpoint = UnixSocketEndpoint(reactor, "unix://x", self.path, "", 4096)
        return Deferred.fromCoroutine(self.hold_and_open(endpoint, self.connect_unix))

    def test_adopted(self) -> Deferred[None]:
        inherited = socket.socket(socket.AF_UNIX)
        inherited.bind(self.path)
        inherited.listen(4096)
        inherited.setblocking(False)
        endpoint = UnixAdoptedEndpoint(reactor, inherited)
        return Deferred.fromCoroutine(self.hold_and_open(endpoint, self.connect_unix))

    def test_tcp(self) -> Deferred[None]:
        from twisted.internet.endpoints import TCP4ServerEndpoint

        endpoint = TCP4ServerEndpoint(reactor, 0, 4096, "127.0.0.1")

        def connect() -> socket.socket:
            listening: Any = self.gate.ports[0].getHost()
            return socket.create_connection(("127.0.0.1", listening.port))

        return Deferred.fromCoroutine(self.hold_and_open(endpoint, connect))

    async def test_closes_again(self) -> None:
        endpoint = UnixSocketEndpoint(reactor, "unix://x", self.path, "", 4096)
        self.gate.open()
        await self.gate.listen(endpoint, self.numbering)
        with self.connect_unix() as first:
            self.assertEqual(await self.read(first), 1)
        self.gate.close()
        with self.connect_unix() as second:
            await deferLater(reactor, 0.05)
            self.assertEqual(self.numbering.accepted, 1)
            self.gate.open()
            self.assertEqual(await self.read(second), 2)


@attrs.define
class Request:
    number: int
    gone: bool = False
    callbacks: list[Callable[[], None]] = attrs.field(factory=list)

    def on_gone(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def leave(self) -> None:
        self.gone = True
        for callback in self.callbacks:
            callback()


class GuardTests(SynchronousTestCase):
    """Requests on connections that were accepted wait too."""

    def setUp(self) -> None:
        self.gate = Gate()
        self.served: list[int] = []
        self.dispatch = self.gate.guard(self.serve)

    def serve(self, request: Request) -> None:
        if request.number < 0:
            raise ValueError("a bug")
        self.served.append(request.number)

    def test_passes_when_open(self) -> None:
        self.gate.open()
        self.dispatch(Request(1))
        self.assertEqual(self.served, [1])

    def test_holds_until_open_and_keeps_the_order(self) -> None:
        for number in range(5):
            self.dispatch(Request(number))
        self.assertEqual((self.served, self.gate.held), ([], 5))
        self.gate.open()
        self.assertEqual((self.served, self.gate.held), ([0, 1, 2, 3, 4], 0))

    def test_forgets_who_left(self) -> None:
        requests = [Request(number) for number in range(3)]
        for request in requests:
            self.dispatch(request)
        requests[1].leave()
        self.assertEqual(self.gate.held, 2)
        self.gate.open()
        self.assertEqual(self.served, [0, 2])

    def test_a_bug_in_one_does_not_hold_up_the_others(self) -> None:
        for number in (1, -1, 2):
            self.dispatch(Request(number))
        self.gate.open()
        self.assertEqual(self.served, [1, 2])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_closes_again(self) -> None:
        self.gate.open()
        self.gate.close()
        self.dispatch(Request(1))
        self.assertEqual(self.served, [])
        self.gate.open()
        self.assertEqual(self.served, [1])
