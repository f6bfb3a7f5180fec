"""A Docker API server for tests of clients, over handlers that the test gives.

Rule: it listens on one unix socket and leaves nothing behind once `stop` has fired.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from dockerapi.api.resource import ApiResource
from dockerapi.api.settings import ApiSettings
from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine, Handler
from dockerapi.engine.job import Job
from dockerapi.http.factory import HTTPFactory
from dockerapi.server.serveapi import Server


async def _ping(job: Job) -> Answer:
    return None


class APIServer:
    """Serves the API in the test's own process.

    Use it in a `twisted.trial.unittest.TestCase`::

        server = APIServer(self.mktemp(), {"ContainerList": list_nothing})
        await server.start()
        self.addCleanup(server.stop)

    Operations without a handler answer 501; `/_ping` answers in any case.

    :ivar engine: where handlers can be registered and replaced, and events published.
    :ivar jobs: the names of the operations that were asked for, in order.
    """

    def __init__(self, path: str, handlers: Mapping[str, Handler], reactor: Any = None) -> None:
        """Take the path of the socket to be and the handlers by operationId.

        :param reactor: the installed one unless given.
        """
        self.path = path
        self.engine = Engine(logging=False)
        self.jobs: list[str] = []
        self.engine.authorize = self._remember
        for name, handler in {"SystemPing": _ping, "SystemPingHead": _ping, **handlers}.items():
            self.engine.register(name, handler)
        self._reactor = reactor if reactor is not None else _installed_reactor()
        self._api = ApiResource(self.engine, ApiSettings(logging=False), self._reactor)
        self._factories: list[HTTPFactory] = []
        self._server = Server(self.engine, self._reactor, self._factory)
        self._server.register()
        self._serving: Deferred[Any] | None = None

    @property
    def url(self) -> str:
        """What a client is told, as in ``DOCKER_HOST``."""
        return f"unix://{self.path}"

    async def start(self) -> None:
        """Listen and accept; raises `EngineError` where the socket cannot be made."""
        job = self.engine.job("serveapi", self.url)
        job.setenv_bool("BufferRequests", True)
        self._serving = job.run().addErrback(_ended)
        await self._server.listening.wait()
        await self.engine.job("acceptconnections").run()
        self.jobs.clear()

    async def stop(self) -> None:
        """End every request and connection, and remove the socket."""
        await self._server.stop()
        await self.engine.shutdown(0.0, self._reactor)
        for factory in self._factories:
            await factory.end("the test ends")
        self._api.close()

    async def _remember(self, job: Job) -> None:
        self.jobs.append(job.name)

    def _factory(self, host: str) -> HTTPFactory:
        dispatch = self._server.gate.guard(self._api.dispatch)
        factory = HTTPFactory(dispatch, listener=host, clock=self._reactor)
        self._factories.append(factory)
        return factory


def _ended(failure: Failure) -> None:
    failure.trap(CancelledError)


def _installed_reactor() -> Any:
    from twisted.internet import reactor

    return reactor
