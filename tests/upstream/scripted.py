"""An upstream that says what a test tells it to, on a real unix socket."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.job import Job
from dockerapi.model.envelope import Envelope
from dockerapi.model.versions import Version
from dockerapi.upstream.backend import UpstreamBackend
from dockerapi.wire.duplex import CHUNK, StreamAborted

reactor: Any = installed_reactor


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until `condition` holds; fail when it does not within `seconds`."""
    end = reactor.seconds() + seconds
    while not condition():
        if reactor.seconds() > end:
            raise AssertionError("waited in vain")
        await deferLater(reactor, 0.002)


OK = b"HTTP/1.1 200 OK\r\n"


class Side(Protocol):
    """One accepted connection: collects what comes; the test writes by `transport`."""

    transport: Any

    def __init__(self) -> None:
        self.seen = bytearray()
        self.ended = False
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.seen += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = self.ended = True

    async def request(self, ending: bytes = b"\r\n\r\n") -> bytes:
        """Return all that came up to and with `ending`, and forget it."""
        await until(lambda: ending in self.seen)
        at = self.seen.index(ending) + len(ending)
        taken = bytes(self.seen[:at])
        del self.seen[:at]
        return taken

    def say(self, data: bytes) -> None:
        self.transport.write(data)


@implementer(IHalfCloseableProtocol)
class HalfClosingSide(Side):
    """One that goes on sending after its peer has ended."""

    def readConnectionLost(self) -> None:
        self.ended = True

    def writeConnectionLost(self) -> None:
        pass

    def deaf(self) -> bool:
        """Tell whether the peer is gone altogether, by writing to it."""
        self.say(b"?")
        return self.lost


class ScriptedUpstream(Factory):
    """A listening upstream; `side(n)` is its nth connection."""

    noisy = False
    side_class: type[Side] = Side

    def __init__(self) -> None:
        self.sides: list[Side] = []

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        side = self.side_class()
        self.sides.append(side)
        return side

    async def side(self, number: int = 0) -> Side:
        await until(lambda: len(self.sides) > number)
        return self.sides[number]


class Feed:
    """A request's body that a test feeds: bytes, `b""` for its end, or an exception."""

    def __init__(self, *items: bytes | Exception) -> None:
        self.items = deque(items)
        self.taken = 0
        self.reads = 0
        self._waiting: Deferred[None] | None = None

    def put(self, *items: bytes | Exception) -> None:
        self.items.extend(items)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def read(self, limit: int = CHUNK) -> bytes:
        self.reads += 1
        while not self.items:
            self._waiting = Deferred()
            try:
                await self._waiting
            finally:
                self._waiting = None
        item = self.items.popleft()
        if isinstance(item, Exception):
            raise item
        if len(item) > limit:
            self.items.appendleft(item[limit:])
            item = item[:limit]
        self.taken += len(item)
        if not item:
            self.items.append(b"")
        return item

    def abort(self, reason: str) -> None:
        self.put(StreamAborted(reason))


class ClientStream(Feed):
    """The client's side of an answer: collects what is written, blocks while `blocked` is set."""

    def __init__(self, *items: bytes | Exception) -> None:
        super().__init__(*items)
        self.seen = bytearray()
        self.write_closed = False
        self.aborted = False
        self.gone = False
        self.blocked: Deferred[None] | None = None

    async def write(self, data: bytes) -> None:
        if self.gone:
            raise StreamAborted("the client has left")
        self.seen += data
        if self.blocked is not None:
            await self.blocked

    async def close_write(self) -> None:
        self.write_closed = True

    def abort(self, reason: str) -> None:
        self.aborted = True


class UpstreamTestCase(TestCase):
    """A backend before a scripted upstream, without its start."""

    timeout = 120

    def setUp(self) -> None:
        self.path = tempfile.mktemp(prefix="dockerapi-test-")
        self.upstream = ScriptedUpstream()
        port = reactor.listenUNIX(self.path, self.upstream, backlog=1024)
        self.addCleanup(port.stopListening)
        self.backend = UpstreamBackend(f"unix://{self.path}", reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.tidy()))
        self.engine = Engine(logging=False)
        self.backend.register(self.engine)
        self.engine.activation.activate()

    async def tidy(self) -> None:
        await self.backend.stop()
        for side in self.upstream.sides:
            if not side.lost:
                side.transport.abortConnection()
        await until(lambda: all(side.lost for side in self.upstream.sides))

    def job(
        self,
        name: str = "ContainerList",
        method: str = "GET",
        path: str = "/containers/json",
        query: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: Feed | None = None,
        length: int | None = 0,
    ) -> Job:
        envelope = Envelope(method, path, query, headers, body or Feed(b""), length)
        return self.engine.job(name, version=Version(1, 41), envelope=envelope)

    def run_job(self, name: str = "ContainerList", *args: Any, **kwargs: Any) -> Deferred[Answer]:
        return self.job(name, *args, **kwargs).run()
