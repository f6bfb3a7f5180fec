"""The forwarding backend: every operation of the API goes to an engine that already exists.

Rule: a request is passed on at the version that its client speaks and as it came; nothing but the
head's connection-bound parts is changed in either direction.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError, Unavailable
from dockerapi.engine.job import Job
from dockerapi.model.operations import OPERATIONS
from dockerapi.upstream.client import Client
from dockerapi.upstream.facts import learn_from_ping, learn_from_version
from dockerapi.upstream.forward import answer_of, request_of
from dockerapi.upstream.pool import Pool
from dockerapi.upstream.target import Target
from dockerapi.upstream.tls import ClientTLS

#: The first pause between two tries to reach the upstream and the longest, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0

#: Operations that have no end of their own.
FOLLOWING = frozenset({"SystemEvents", "ContainerStats"})
#: Operations whose answers tell of the engine itself.
PINGS = frozenset({"SystemPing", "SystemPingHead"})


class UpstreamBackend:
    """Forwards to the engine at `target` (``unix:///PATH`` or ``tcp://HOST:PORT``).

    With `tls` the upstream must prove that it is HOST. Raises `InvalidParameter` when the target or
    a certificate cannot be used.
    """

    log = Logger()

    def __init__(self, target: str, reactor: Any, *, tls: ClientTLS | None = None) -> None:
        self.target = Target.parse(target, tls=tls is not None)
        self._reactor = reactor
        self._pool = Pool(target, self.target.endpoint(reactor, tls), reactor)
        self._client = Client(self._pool, target)
        self._engine: Engine | None = None
        self._stopped = False

    def register(self, engine: Engine) -> None:
        """Register one handler for every operation."""
        self._engine = engine
        for name in OPERATIONS:
            engine.register(name, self.forward, follows=name in FOLLOWING)

    async def start(self) -> None:
        """Wait until the upstream answers ``/_ping``, and learn what it is.

        It may take as long as it wants: clients wait at the gate. Cancelling gives up.
        """
        pause, told = FIRST_PAUSE, ""
        while True:
            try:
                await self._learn()
                return
            except EngineError as error:
                if self._stopped:
                    raise
                if error.message != told:
                    told = error.message
                    self.log.warn("waiting for the engine: {reason}", reason=told)
            await deferLater(self._reactor, pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def stop(self) -> None:
        """Close every connection to the upstream."""
        self._stopped = True
        await self._pool.close()

    async def forward(self, job: Job) -> Answer:
        """Pass `job` on and return the upstream's answer.

        Raises `Unavailable` when the upstream cannot be reached or breaks off before it answers.
        """
        request = request_of(job, self.target.authority)
        exchange = await self._client.send(request)
        if job.name in PINGS and exchange.head is not None and self._engine is not None:
            learn_from_ping(exchange.head, self._engine.facts)
        return answer_of(exchange, request)

    async def _learn(self) -> None:
        """Ask the upstream what it is; raise an `EngineError` while it does not answer as one."""
        assert self._engine is not None
        authority, facts = self.target.authority, self._engine.facts
        ping, _ = await self._client.get(b"/_ping", authority)
        assert ping.head is not None
        if ping.head.status != 200 or not learn_from_ping(ping.head, facts):
            raise Unavailable(
                f"{self.target.text} answers /_ping with {ping.head.status}, not as an engine"
            )
        version, body = await self._client.get(b"/version", authority)
        if version.head is not None and version.head.status == 200:
            learn_from_version(body, facts)
