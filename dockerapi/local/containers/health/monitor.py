"""Checks the health of containers that run, each at its own pace.

Rule: one check of a container at a time; a container that is paused is not checked.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.health.health import Check, Health, Result, check_of
from dockerapi.local.containers.ledger import Ledger
from dockerapi.local.containers.life.observers import Observer
from dockerapi.model.timestamps import NANOSECONDS, go_duration

#: Runs a command in a container: returns its exit code (None where it took more than so many
#: seconds, and was killed) and the beginning of its output.
Probe = Callable[[Container, tuple[str, ...], float], Awaitable[tuple[int | None, bytes]]]


class HealthMonitor(Observer):
    """The checks that go on."""

    log = Logger()

    def __init__(self, ledger: Ledger, probe: Probe, clock: IReactorTime) -> None:
        self._ledger = ledger
        self._probe = probe
        self._clock = clock
        self._checking: dict[str, Deferred[None]] = {}

    def started(self, container: Container) -> None:
        """Begin to check a container that runs, if it wants that."""
        check = check_of(container.config)
        if check is None:
            return
        self.ended(container)
        container.health = Health()
        checking = Deferred.fromCoroutine(self._check_on(container, check))
        self._checking[container.id] = checking
        checking.addErrback(self._failed, container)

    def ended(self, container: Container) -> None:
        """Check a container no more: nobody can call it healthy then."""
        checking = self._checking.pop(container.id, None)
        if checking is not None:
            checking.cancel()
        if container.health is not None:
            container.health = container.health.unwatched()

    def stop(self) -> None:
        """Check nothing any more."""
        for checking in tuple(self._checking.values()):
            checking.cancel()
        self._checking.clear()

    async def _check_on(self, container: Container, check: Check) -> None:
        while True:
            await deferLater(self._clock, _next_pause(container, check))
            if container.state.status is Status.RUNNING:
                await self._check(container, check)

    async def _check(self, container: Container, check: Check) -> None:
        start = time.time_ns()
        try:
            code, output = await self._probe(container, check.argv, check.timeout)
        except EngineError as error:
            code, output = -1, error.message.encode()
        text = output.decode("utf-8", "replace")
        if code is None:
            told = f"Health check exceeded timeout ({go_duration(check.timeout)})"
            code, text = -1, f"{told}: {text}" if text else told
        result = Result(start, time.time_ns(), code, text)
        before = container.health or Health()
        container.health = before.after(result, check, _lasting(container))
        self._ledger.changed()
        if container.health.status != before.status:
            self._ledger.publish(container, f"health_status: {container.health.status}")

    def _failed(self, failure: Failure, container: Container) -> None:
        if not failure.check(CancelledError):
            self.log.failure("checking {id} failed", id=container.id, failure=failure)


def _lasting(container: Container) -> float:
    """Return for how long a container has run, in seconds."""
    return (time.time_ns() - container.state.started_at) / NANOSECONDS


def _next_pause(container: Container, check: Check) -> float:
    health = container.health
    starting = health is not None and health.status == "starting"
    if starting and _lasting(container) < check.start_period:
        return min(check.start_interval, check.interval)
    return check.interval
