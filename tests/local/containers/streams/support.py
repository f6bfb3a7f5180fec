"""What tests of attach, logs and exec share: real containers, and a client of their streams."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from dockerapi.engine.answers import Hijack, Stream
from dockerapi.engine.engine import Engine
from dockerapi.local.containers.execs.operations import Execs
from dockerapi.local.containers.foundation import Foundation
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.logs.operation import ContainerLogs
from dockerapi.local.containers.streams.attach import Attachments
from dockerapi.wire.duplex import CHUNK
from dockerapi.wire.stdcopy import FrameDecoder
from tests.local.containers.support import Collected, RigCase
from tests.serving import serve


class Client(Collected):
    """A client of a hijacked stream: sends what it is told to, keeps what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self._input: deque[bytes] = deque()
        self._waiting: Deferred[None] | None = None
        self.stalled: Deferred[None] | None = None

    def send(self, data: bytes) -> None:
        """Send `data`; nothing is the end of the input."""
        self._input.append(data)
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    async def read(self, limit: int = CHUNK) -> bytes:
        while not self._input:
            self._waiting = Deferred()
            await self._waiting
        return self._input.popleft() if self._input[0] else b""

    async def write(self, data: bytes) -> None:
        if self.stalled is not None:
            await self.stalled
        await super().write(data)

    def has(self, data: bytes) -> bool:
        """Tell whether `data` has come."""
        return data in self.data

    def frames(self) -> dict[int, bytes]:
        got: dict[int, bytes] = {}
        for stream, payload in FrameDecoder().feed(self.data):
            got[stream] = got.get(stream, b"") + payload
        return got


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await deferLater(reactor, 0.02)


class StreamsCase(RigCase):
    timeout = 120

    async def setUp(self) -> None:
        await super().setUp()
        for part in (self.logs, self.attachments, self.execs):
            part.register(self.rig.engine)
            self.addCleanup(part.stop)

    def observers(self, engine: Engine, foundation: Foundation) -> Sequence[Observer]:
        registry, places, events = foundation.registry, foundation.places, engine.events
        self.logs = ContainerLogs(registry, lambda one: places.directories(one).log, reactor)
        self.attachments = Attachments(registry, events, reactor, places.watch, self.logs)
        self.execs = Execs(registry, places, foundation.toolbox, events, reactor, reactor)
        return (self.execs, self.attachments)

    def serve(self, answer: Any, client: Client) -> Deferred[None]:
        self.assertIsInstance(answer, Hijack | Stream)
        return serve(answer, client)

    async def attach(
        self, name: str, query: str = "stream=1&stdin=1&stdout=1&stderr=1"
    ) -> tuple[Client, Deferred[None]]:
        client = Client()
        return client, self.serve(await self.rig.job("ContainerAttach", name, query=query), client)

    async def begin(self, *command: str, **config: Any) -> tuple[Client, Deferred[None]]:
        """Create the container cx, attach, start it: as `docker run` does."""
        await self.rig.create(*command, name="cx", **config)
        attached = await self.attach("cx")
        await self.rig.job("ContainerStart", "cx")
        return attached

    async def read_logs(self, query: str) -> Client:
        client = Client()
        await self.serve(await self.rig.job("ContainerLogs", "cx", query=query), client)
        return client

    async def fails(self, kind: type[Exception], awaitable: Awaitable[Any]) -> str:
        try:
            await awaitable
        except kind as error:
            return str(getattr(error, "message", error))
        raise self.failureException(f"{kind.__name__} was not raised")
