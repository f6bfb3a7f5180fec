"""A job: a named piece of work with arguments, environment and streams, run once.

Source: Docker 1.2's `engine.Job`; what an API operation adds (principal, envelope, version) is
ours. Rule: a job runs once, and whatever runs in the engine is one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from dockerapi.engine.answers import Answer
from dockerapi.engine.environment import Environment
from dockerapi.engine.errors import InvalidParameter
from dockerapi.engine.principal import EMBEDDED, Principal
from dockerapi.model.envelope import EmptySource, Envelope
from dockerapi.model.malformed import Malformed
from dockerapi.model.request import TypedRequest
from dockerapi.model.versions import NEWEST, Version
from dockerapi.wire.duplex import Sink, Source

R = TypeVar("R", bound=TypedRequest)

_numbers = itertools.count(1)


class DiscardingSink:
    """A sink that forgets what is written."""

    async def write(self, data: bytes) -> None:
        """Forget `data`."""

    async def close_write(self) -> None:
        """Do nothing."""

    def abort(self, reason: str) -> None:
        """Do nothing."""


class Runner(Protocol):
    """What runs jobs: the engine."""

    def run(self, job: Job) -> Deferred[Answer]:
        """Run `job`, once."""
        ...


class Job(Environment):
    """One run of a named piece of work; made by `Engine.job`.

    :ivar name: the handler's name: `serveapi`, or an operationId such as ``ContainerCreate``.
    :ivar args: the arguments, in order; for an operation the names in its path, decoded.
    :ivar stdin: what the job reads; for an operation the request's body.
    :ivar stdout: where the job writes, and `stderr` likewise.
    :ivar principal: on whose behalf it runs.
    :ivar is_operation: whether it is one of the API's, and not of the process itself.
    :ivar request_id: a number in text, unique in this process, for logs.
    :ivar version: the API version that the client speaks.
    :ivar envelope: the request as it came; an empty one for a job of the process itself.
    """

    def __init__(
        self,
        engine: Runner,
        name: str,
        args: Sequence[str] = (),
        *,
        principal: Principal = EMBEDDED,
        version: Version = NEWEST,
        envelope: Envelope | None = None,
    ) -> None:
        super().__init__()
        self.engine = engine
        self.name = name
        self.args = tuple(args)
        self.principal = principal
        self.version = version
        self.envelope = envelope if envelope is not None else Envelope()
        self.is_operation = envelope is not None
        self.request_id = str(next(_numbers))
        self.stdin: Source = self.envelope.body if envelope is not None else EmptySource()
        self.stdout: Sink = DiscardingSink()
        self.stderr: Sink = DiscardingSink()
        self.started = False
        self._request: Any = None

    def run(self) -> Deferred[Answer]:
        """Run the job; the Deferred fires with its answer or fails with an `EngineError`.

        Cancelling the Deferred gives the run up. Fails with `AlreadyRun` the second time and with
        `UnknownJob` where no handler is registered.
        """
        return self.engine.run(self)

    async def request(self, kind: type[R]) -> R:
        """Return the envelope as a typed request; decoded once.

        Raises `InvalidParameter` with the text of what is malformed.
        """
        if not isinstance(self._request, kind):
            try:
                self._request = await kind.decode(self.envelope, self.args, self.version)
            except Malformed as malformed:
                raise InvalidParameter(malformed.message) from malformed
        request: R = self._request
        return request

    def __str__(self) -> str:
        arguments = ", ".join(ascii(argument)[1:-1] for argument in self.args)
        return f"{self.name}({arguments})"
