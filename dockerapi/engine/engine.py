"""The engine: named handlers, and the one door through which every job runs.

Source: Docker 1.2's `engine.Engine`. Rule: nothing reaches a handler but through `Engine.run`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

import attrs
import msgspec
from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.activation import Activation
from dockerapi.engine.answers import Answer, Hijack, Response, Stream
from dockerapi.engine.errors import (
    AlreadyRegistered,
    AlreadyRun,
    Cancelled,
    EngineError,
    Unavailable,
    UnknownJob,
)
from dockerapi.engine.events import EventBus
from dockerapi.engine.facts import Facts
from dockerapi.engine.job import Job
from dockerapi.engine.metrics import JobCounters, JobMetrics
from dockerapi.engine.principal import EMBEDDED, Principal
from dockerapi.model.envelope import Envelope
from dockerapi.model.versions import NEWEST, Version

Handler = Callable[[Job], Awaitable[Answer]]
Authorize = Callable[[Job], Awaitable[None]]
FilterAnswer = Callable[[Job, Answer], Answer]


class Registration(msgspec.Struct, frozen=True):
    """A handler with the ways in which its jobs differ from others.

    :ivar early: may run before activation.
    :ivar detached: runs on when its client leaves: what it started is not given up.
    :ivar follows: has no end of its own, as following events has: ended at once at shutdown.
    :ivar serves: runs for as long as the server does: no job to wait for (`serveapi`).
    """

    handler: Handler
    early: bool = False
    detached: bool = False
    follows: bool = False
    serves: bool = False


@attrs.define(eq=False)
class Run:
    """A job that is under way; its streams belong to it."""

    job: Job
    registration: Registration
    counters: JobCounters
    since: float
    ended: Deferred[None] = attrs.field(factory=Deferred)
    deferred: Deferred[Any] | None = None
    streaming: bool = False
    failed: bool = False


class Engine:
    """Handlers by name, and what they share.

    :ivar events: the bus of this engine.
    :ivar activation: fired when the engine may serve.
    :ivar metrics: counters of all jobs.
    :ivar facts: what every answer tells of the engine.
    :ivar logging: whether runs are logged.
    :ivar verbose: whether runs of the API's operations are logged too, which have a line of
        their own as requests.
    :ivar authorize: awaited before each run; raises `Forbidden` to refuse. None allows all.
    :ivar filter_answer: sees every answer on its way out. None leaves them as they are.
    """

    log = Logger()

    def __init__(self, *, logging: bool = True) -> None:
        self.events = EventBus()
        self.activation = Activation()
        self.metrics = JobMetrics()
        self.facts = Facts()
        self.logging = logging
        self.verbose = False
        self.authorize: Authorize | None = None
        self.filter_answer: FilterAnswer | None = None
        self._handlers: dict[str, Registration] = {}
        self._runs: set[Run] = set()
        self._closing = False

    @property
    def closing(self) -> bool:
        """Whether a shutdown has begun."""
        return self._closing

    @property
    def running(self) -> tuple[Job, ...]:
        """The jobs under way, streams included, without those that serve."""
        return tuple(run.job for run in self._runs if not run.registration.serves)

    def register(
        self,
        name: str,
        handler: Handler,
        *,
        early: bool = False,
        detached: bool = False,
        follows: bool = False,
        serves: bool = False,
    ) -> None:
        """Make `handler` (a coroutine function) the one for jobs called `name`; see `Registration`.

        Raises `AlreadyRegistered` where there is one.
        """
        if name in self._handlers:
            raise AlreadyRegistered(name)
        self._handlers[name] = Registration(handler, early, detached, follows, serves)

    def replace(self, name: str, wrap: Callable[[Handler], Handler]) -> None:
        """Put `wrap(the handler so far)` in the place of a registered handler.

        Raises `UnknownJob` where there is none. This is how an application changes one operation.
        """
        registration = self._handlers.get(name)
        if registration is None:
            raise UnknownJob(name)
        self._handlers[name] = structs.replace(registration, handler=wrap(registration.handler))

    def handles(self, name: str) -> bool:
        """Tell whether a handler is registered for `name`."""
        return name in self._handlers

    def job(
        self,
        name: str,
        *args: str,
        principal: Principal = EMBEDDED,
        version: Version = NEWEST,
        envelope: Envelope | None = None,
    ) -> Job:
        """Make a job; it runs when its `run` is called."""
        return Job(self, name, args, principal=principal, version=version, envelope=envelope)

    def run(self, job: Job) -> Deferred[Answer]:
        """Run `job`: the one door (see `Job.run`)."""
        try:
            run = self._admit(job)
        except EngineError:
            return fail()
        run.deferred = Deferred.fromCoroutine(self._perform(run))
        if not run.registration.detached or run.deferred.called:
            return run.deferred
        return _loosen(run.deferred, job, self.log)

    def _admit(self, job: Job) -> Run:
        """Check that `job` may run now, and count it as running."""
        registration = self._handlers.get(job.name)
        if registration is None:
            raise UnknownJob(job.name)
        if job.started:
            raise AlreadyRun(job.name)
        if self._closing:
            raise Unavailable("the server is shutting down")
        if not registration.early and not self.activation.active:
            failure = self.activation.failure
            reason = f"did not start: {failure.getErrorMessage()}" if failure else "is starting"
            raise Unavailable(f"the engine {reason}")
        job.started = True
        run = Run(job, registration, self.metrics.start(job.name), perf_counter())
        self._runs.add(run)
        if self._logs(job):
            self.log.info("+job {job}", job=job)
        return run

    def _logs(self, job: Job) -> bool:
        return self.logging and (self.verbose or not job.is_operation)

    async def _perform(self, run: Run) -> Answer:
        try:
            if self.authorize is not None:
                await self.authorize(run.job)
            answer = await run.registration.handler(run.job)
            if self.filter_answer is not None:
                answer = self.filter_answer(run.job, answer)
            return self._keep_streams(run, answer)
        except BaseException as error:
            run.failed = True
            if isinstance(error, CancelledError):
                raise Cancelled(f"the job {run.job.name} was given up") from error
            raise
        finally:
            if not run.streaming:
                self._end(run)

    def _keep_streams(self, run: Run, answer: Answer) -> Answer:
        """Make a streaming answer part of its job: it ends when the stream has been served."""
        if isinstance(answer, Stream | Hijack):
            run.streaming = True
            return structs.replace(answer, serve=self._serving(run, answer.serve))
        if isinstance(answer, Response) and not isinstance(answer.body, bytes):
            run.streaming = True
            return structs.replace(answer, body=self._serving(run, answer.body))
        return answer

    def _serving(
        self, run: Run, serve: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        async def served(stream: Any) -> None:
            run.deferred = Deferred.fromCoroutine(_coroutine(serve, stream))
            try:
                await run.deferred
            except BaseException:
                run.failed = True
                raise
            finally:
                self._end(run)

        return served

    def abandon(self, job: Job) -> None:
        """End a job whose streaming answer nobody will serve, since its client has left."""
        for run in tuple(self._runs):
            if run.job is job:
                run.failed = True
                self._end(run)

    def _end(self, run: Run) -> None:
        if run not in self._runs:
            return
        self._runs.discard(run)
        seconds = perf_counter() - run.since
        self.metrics.end(run.counters, seconds, failed=run.failed)
        if self._logs(run.job):
            self.log.info(
                "-job {job} = {result} ({seconds:.3f} s)",
                job=run.job,
                result="ERR (1)" if run.failed else "OK (0)",
                seconds=seconds,
            )
        run.ended.callback(None)

    async def shutdown(self, timeout: float, clock: IReactorTime) -> None:
        """Refuse new jobs, wait up to `timeout` seconds for those that run, cancel the rest.

        Jobs that serve are not waited for; those that only follow are ended at once.
        """
        self._closing = True
        self.events.close()
        waited = [run for run in self._runs if not run.registration.serves]
        for run in waited:
            if run.registration.follows and run.deferred is not None:
                run.deferred.cancel()
        if not await self._all_ended(waited, timeout, clock):
            for run in waited:
                if run in self._runs and run.deferred is not None:
                    run.deferred.cancel()
            await self._all_ended(waited, 1.0, clock)

    async def _all_ended(self, runs: Sequence[Run], timeout: float, clock: IReactorTime) -> bool:
        pending = [run for run in runs if run in self._runs]
        if not pending:
            return True
        watched: list[Deferred[None]] = []
        for run in pending:
            watch: Deferred[None] = Deferred()
            run.ended.addCallback(_tell, watch)
            watched.append(watch)
        everyone = DeferredList(watched, consumeErrors=True)
        everyone.addTimeout(timeout, clock, onTimeoutCancel=lambda result, _: result)
        await everyone
        return not any(run in self._runs for run in pending)


def _tell(result: None, watch: Deferred[None]) -> None:
    watch.callback(None)


async def _coroutine(serve: Callable[[Any], Awaitable[None]], stream: Any) -> None:
    await serve(stream)


def _loosen(inner: Deferred[Answer], job: Job, log: Logger) -> Deferred[Answer]:
    """Return a Deferred with the result of `inner` whose cancellation leaves `inner` running."""
    outer: Deferred[Answer] = Deferred()

    def settle(result: Answer | Failure) -> Deferred[None]:
        if not outer.called:
            if isinstance(result, Failure):
                outer.errback(result)
            else:
                outer.callback(result)
        elif isinstance(result, Failure):
            if result.check(EngineError):
                # What its client would have been told is no fault of ours.
                reason = result.getErrorMessage()
                log.warn("the detached job {job} failed: {reason}", job=job, reason=reason)
            else:
                log.failure("the detached job {job} failed", failure=result, job=job)
        return succeed(None)

    inner.addBoth(settle)
    return outer
