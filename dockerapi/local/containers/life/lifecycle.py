"""A container's life: made, started, ended, removed.

Rule: every change holds the container's lock, is committed before it is told, and is undone where
it fails half-way; cleaning up comes after the answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.errors import EngineError
from dockerapi.engine.events import Event
from dockerapi.local.containers.container import Container, Exit, State, Status
from dockerapi.local.containers.ledger import Ledger, event
from dockerapi.local.containers.life.cleaning import Cleaner
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.life.order import Order
from dockerapi.local.containers.life.restarting import Restarter, wants_restart
from dockerapi.local.containers.life.running import Running
from dockerapi.local.containers.life.settling import listening
from dockerapi.local.containers.life.shortages import Shortages
from dockerapi.local.containers.life.starting import Started, Starter
from dockerapi.local.containers.life.transitions import Operation, check, moved, refuse
from dockerapi.local.containers.runtime.conmon import Watch
from dockerapi.local.containers.runtime.monitor import End, until_ended
from dockerapi.local.containers.runtime.runtime import StartFailed
from dockerapi.model.timestamps import NANOSECONDS

#: The exit code of a container that could not be started, where the runtime's words tell no other.
_NOT_STARTED = 128


class Lifecycle:
    """Carries out the transitions of containers, and tells `observer` of them."""

    log = Logger()

    def __init__(
        self,
        ledger: Ledger,
        starter: Starter,
        cleaner: Cleaner,
        order: Order,
        observer: Observer,
        clock: IReactorTime,
    ) -> None:
        self._ledger = ledger
        self._starter = starter
        self._cleaner = cleaner
        self._order = order
        self._observer = observer
        self._clock = clock
        self._closing = False
        self._restarter = Restarter(
            clock, lambda container: self._keep(self._restarting, self._restart(container))
        )
        self._shortages = Shortages(ledger, lambda work: self._keep(self._cleaning, work))
        self._running: dict[str, Running] = {}
        #: Waiting for ends, given up at `stop`; starting again and cleaning up, finished before it.
        self._watching: set[Deferred[None]] = set()
        self._restarting: set[Deferred[None]] = set()
        self._cleaning: set[Deferred[None]] = set()

    def pidfd(self, container: Container) -> int | None:
        """Return a descriptor of the first process of a running container (not to be closed)."""
        running = self._running.get(container.id)
        return None if running is None else running.pidfd

    async def start(self, container: Container) -> None:
        """Start a container.

        Raises `NotModified` where it runs, `Conflict` where it is paused or being removed, and in
        the runtime's words what the runtime refused.
        """
        await container.lock.run(lambda: Deferred.fromCoroutine(self._start(container)))
        await listening(container, self._clock)

    async def _start(self, container: Container) -> None:
        check(Operation.START, container)
        self._restarter.forget(container)
        await self._launch(container, restarts=0)

    async def _launch(self, container: Container, *, restarts: int) -> None:
        before = container.state
        try:
            started = await self._starter.start(container)
            await self._record_start(container, started, restarts)
        except BaseException as error:
            await self._fail(container, before, error)
            raise
        self.follow(container, started.pidfd, started.conmon, started.watch)

    async def _record_start(self, container: Container, started: Started, restarts: int) -> None:
        state = moved(
            container.state,
            Status.RUNNING,
            pid=started.pid,
            start_time=started.start_time,
            exit_code=0,
            error="",
            oom_killed=False,
            started_at=time.time_ns(),
            restarts=restarts,
            by_hand=False,
        )
        try:
            await self._ledger.save(container, state, event(container, "start"))
        except BaseException:
            os.close(started.pidfd)
            raise

    async def _fail(self, container: Container, before: State, error: BaseException) -> None:
        """Undo a start that failed, and record why; what goes wrong in that is only logged."""
        self._observer.ended(container)
        await self._cleaner.after_end(container, by_force=True)
        if not before.started_at:
            # It never was on its network.
            container.network_id = ""
        try:
            await self._record_failure(container, before, error)
        except Exception:
            text = "the failed start of the container {id} was not recorded"
            self.log.failure(text, id=container.id)

    async def _record_failure(
        self, container: Container, before: State, error: BaseException
    ) -> None:
        message = error.message if isinstance(error, EngineError) else str(error)
        if isinstance(error, CancelledError):
            message = "the start was given up"
        code = error.exit_code if isinstance(error, StartFailed) else _NOT_STARTED
        if container.host_config.auto_remove:
            await self._ledger.forget(container, event(container, "destroy"))
            await self._cleaner.forget_volumes(container)
            container.tell_removal(Exit(code))
            await self._cleaner.remove_files(container)
        else:
            failed = structs.replace(before, exit_code=code, error=message)
            await self._ledger.save(container, failed)

    def follow(
        self, container: Container, pidfd: int, conmon: Deferred[None], watch: Watch
    ) -> None:
        """Wait for the end of a container that runs, and record it then.

        `pidfd` becomes this object's; `conmon` fires at the end of the monitor.
        """
        self._running[container.id] = Running(pidfd)

        async def wait() -> None:
            end = await until_ended(pidfd, conmon, watch.exit_file, watch.oom_file, self._clock)
            self._keep(self._cleaning, self.end(container, end))

        self._keep(self._watching, wait())
        self._shortages.watch(container, watch.oom_file)
        self._observer.started(container)

    async def end(self, container: Container, end: End) -> None:
        """Record the end of a container and tell of it, then clean up behind it."""
        await container.lock.acquire()
        removes = container.host_config.auto_remove and not (
            container.being_restarted or container.removing
        )
        again = not (removes or self._closing) and _starts_again(container, end)
        lasted = (end.finished_at - container.state.started_at) / NANOSECONDS
        try:
            await self._record_end(container, end, removes=removes, again=again)
            self._cleaner.announce(container)
            if removes:
                await self._cleaner.forget_volumes(container)
            self._tell_end(container, end, removes=removes)
            await self._cleaner.after_end(container)
            if again and not self._closing:
                self._restarter.schedule(container, lasted)
        finally:
            container.lock.release()
        if removes:
            await self._cleaner.remove_files(container)

    async def _record_end(
        self, container: Container, end: End, *, removes: bool, again: bool
    ) -> None:
        state = moved(
            container.state,
            Status.RESTARTING if again else Status.EXITED,
            pid=0,
            start_time=0,
            exit_code=end.code,
            oom_killed=end.oom_killed or container.state.oom_killed,
            # Times of files are some milliseconds early, and a container can be as fast.
            finished_at=max(end.finished_at, container.state.started_at),
            restarts=container.state.restarts + again,
        )
        events = _end_events(container, end)
        try:
            if removes:
                container.state = state
                if container.untold_stops:
                    container.untold_stops = 0
                    events.append(event(container, "stop"))
                await self._ledger.forget(container, *events, event(container, "destroy"))
            else:
                await self._ledger.save(container, state, *events)
        except Exception:
            # It has ended all the same, and those who wait must learn of it; on disk the exit
            # file says so, and the next start reads that.
            self.log.failure("the end of the container {id} was not recorded", id=container.id)
            self._ledger.accept(container, state, *events)

    def _tell_end(self, container: Container, end: End, *, removes: bool) -> None:
        self._shortages.leave(container)
        running = self._running.pop(container.id, None)
        if running is not None:
            os.close(running.pidfd)
        # Also of one that starts again: who waits, waits for the next end.
        container.tell_exit(Exit(end.code))
        self._observer.ended(container)
        if running is not None:
            running.tell()
        if removes:
            container.tell_removal(Exit(end.code))

    async def _restart(self, container: Container) -> None:
        """Start a container whose policy says so, after those that it needs."""
        await self._order.wait(container)
        try:
            await self._restart_now(container)
        finally:
            self._order.tell(container)

    async def _restart_now(self, container: Container) -> None:
        async with container.lock:
            if self._closing or not _waits(container):
                return
            try:
                await self._launch(container, restarts=container.state.restarts)
            except CancelledError:
                raise
            except Exception as error:
                text = "the container {id} cannot be started again: {reason}"
                if isinstance(error, EngineError):
                    self.log.warn(text, id=container.id, reason=error.message)
                else:
                    self.log.failure(text, id=container.id, reason=str(error))
                await self._give_up(container)

    async def give_up_restart(self, container: Container) -> bool:
        """Let a container that is to start again be ended; return whether it was such a one."""
        if not _waits(container):
            return False
        async with container.lock:
            if not _waits(container):
                # It was being started again just then.
                return False
            self._restarter.forget(container)
            await self._give_up(container)
            return True

    async def _give_up(self, container: Container) -> None:
        state = moved(container.state, Status.EXITED, by_hand=True)
        try:
            await self._ledger.save(container, state)
        except Exception:
            # It starts no more all the same; who waits for its end must learn of it.
            self.log.failure("the end of the container {id} was not recorded", id=container.id)
            self._ledger.accept(container, state)
        container.tell_exit(Exit(container.state.exit_code))

    async def resume(self, containers: Sequence[Container]) -> None:
        """Start those again whose policies want them running when the server starts."""
        for container in containers:
            state = container.state
            policy = container.host_config.restart_policy
            if state.status is Status.EXITED and wants_restart(policy, state):
                await self._ledger.save(container, moved(state, Status.RESTARTING))
        # Who needs another one knows now that it is to start.
        for container in containers:
            if _waits(container):
                self._restarter.schedule(container, 0.0)

    def close(self) -> None:
        """From now on let policies start nothing again: the server is about to stop."""
        self._closing = True
        self._restarter.stop()
        self._order.close()

    async def remove(self, container: Container) -> None:
        """Remove a container that does not run; its files go after the answer.

        Its `removing` is set by the caller. Raises `Conflict` where it was started meanwhile.
        """
        await container.lock.acquire()
        try:
            if container not in self._ledger:
                # It was one to be removed when it ends, or fails to start.
                return
            refuse(Operation.REMOVE, container, container.state.status)
            await self._ledger.forget(container, event(container, "destroy"))
            await self._cleaner.forget_volumes(container)
            self._restarter.forget(container)
            self._observer.ended(container)
            container.tell_removal(Exit(container.state.exit_code))
        finally:
            container.lock.release()
        self._keep(self._cleaning, self._cleaner.remove_files(container))

    async def ended(self, container: Container, timeout: float | None = None) -> bool:
        """Return whether a container's end has been recorded within `timeout` seconds."""
        running = self._running.get(container.id)
        return True if running is None else await running.ended(timeout, self._clock)

    async def stop(self) -> None:
        """Let containers run on; finish starting them and cleaning up behind those that ended."""
        self.close()
        self._shortages.stop()
        while self._restarting:
            await _settled(next(iter(self._restarting)))
        for watching in tuple(self._watching):
            watching.cancel()
        while self._cleaning:
            await _settled(next(iter(self._cleaning)))
        for running in self._running.values():
            os.close(running.pidfd)
        self._running.clear()

    def _keep(self, tasks: set[Deferred[None]], work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside everything else, remembered among `tasks` while it runs."""
        task = Deferred.fromCoroutine(work)
        if task.called:
            return
        tasks.add(task)

        def done(result: Failure | None) -> None:
            tasks.discard(task)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self.log.failure("background work on containers failed", failure=result)

        task.addBoth(done)


def _waits(container: Container) -> bool:
    return container.state.status is Status.RESTARTING


def _starts_again(container: Container, end: End) -> bool:
    """Tell whether the policy of a container that ended starts it again."""
    if container.removing or container.being_restarted or container.state.by_hand:
        return False
    state = structs.replace(container.state, exit_code=end.code)
    return wants_restart(container.host_config.restart_policy, state)


def _end_events(container: Container, end: End) -> list[Event]:
    """Return the events of an end, in order."""
    seconds = max(0, end.finished_at - container.state.started_at) // NANOSECONDS
    untold = end.oom_killed and not container.state.oom_killed
    events = [event(container, "oom")] if untold else []
    return [*events, event(container, "die", execDuration=str(seconds), exitCode=str(end.code))]


def _settled(task: Deferred[None]) -> Deferred[None]:
    """Return a Deferred that fires when `task` has, without being in its way."""
    settled: Deferred[None] = Deferred()

    def tell(result: Any) -> Any:
        settled.callback(None)
        return result

    task.addBoth(tell)
    return settled
