"""The API before an engine of handlers made for a test, on a channel in memory."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from dockerapi.api.resource import ApiResource
from dockerapi.api.settings import ApiSettings
from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.job import Job
from dockerapi.http.interfaces import Peer
from tests.http import support
from tests.http.support import Connection, get

Handler = Callable[[Job], Awaitable[Answer]]


def answering(answer: Answer) -> Handler:
    """Return a handler with one answer."""

    async def handler(job: Job) -> Answer:
        return answer

    return handler


def failing(error: BaseException) -> Handler:
    """Return a handler that raises `error`."""

    async def handler(job: Job) -> Answer:
        raise error

    return handler


def waiting(ended: list[str]) -> Handler:
    """Return a handler that never answers, and notes in `ended` that it was cancelled."""

    async def handler(job: Job) -> None:
        try:
            await Deferred[None]()
        except CancelledError:
            ended.append("cancelled")
            raise

    return handler


def lost() -> Failure:
    """Return why a connection ends whose client is gone."""
    return Failure(ConnectionLost())


@attrs.define
class Api:
    """An engine and the API before it.

    :ivar jobs: the jobs of the operations that `everything` answers.
    """

    settings: ApiSettings = attrs.field(factory=lambda: ApiSettings(version="1.2.3"))
    clock: Clock = attrs.field(factory=Clock)
    engine: Engine = attrs.field(factory=lambda: Engine(logging=False))
    jobs: list[Job] = attrs.field(factory=list)
    resource: ApiResource = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.engine.activation.activate()
        self.resource = ApiResource(self.engine, self.settings, self.clock)

    def everything(self, *operations: str) -> None:
        """Have `operations` remembered in `jobs` and answered with their names."""

        async def handler(job: Job) -> Answer:
            self.jobs.append(job)
            return {"Job": job.name}

        for operation in operations:
            self.engine.register(operation, handler)

    def connect(self, peer: Peer | None = None) -> Connection:
        """Return a new connection to the API; `peer` is who is said to be at its other end."""

        def dispatch(request: Any) -> None:
            request.peer = peer or Peer("unix:///test", "unix", pid=42, uid=0, gid=0)
            self.resource.dispatch(request)

        return Connection(dispatch)

    def ask(
        self,
        path: str,
        *headers: bytes,
        method: str = "GET",
        peer: Peer | None = None,
    ) -> support.Answer:
        """Send one request on a connection of its own and return its answer."""
        connection = self.connect(peer)
        connection.send(get(path.encode("latin-1"), *headers, method=method.encode()))
        (answer,) = support.answers(connection.sent, method)
        return answer

    def message(self, path: str, *headers: bytes, **options: Any) -> tuple[int, str]:
        """Ask for `path`; return the status and the text of the error."""
        answer = self.ask(path, *headers, **options)
        return answer.status, json.loads(answer.body)["message"]


TCP = Peer("tcp://127.0.0.1:2375", "tcp", "127.0.0.1:4711")
TLS = Peer("tcp://127.0.0.1:2376", "tls", "127.0.0.1:4711")
VERIFIED = Peer("tcp://127.0.0.1:2376", "tls", "127.0.0.1:4711", certificate="CN=client")
