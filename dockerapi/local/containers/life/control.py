"""What is done to containers that live: stop, kill, pause, restart, force their removal.

Rule: nothing here holds a container's lock while it waits for an end.
"""

from __future__ import annotations

import signal
from contextlib import suppress

from msgspec import structs
from twisted.internet.interfaces import IReactorTime

from dockerapi.engine.errors import Conflict, EngineError, NotModified
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.ledger import Ledger, event
from dockerapi.local.containers.life.lifecycle import Lifecycle
from dockerapi.local.containers.life.settling import settled
from dockerapi.local.containers.life.transitions import Operation, check, moved, refuse
from dockerapi.local.containers.runtime.tools import Toolbox
from dockerapi.local.containers.signals import parse_signal
from dockerapi.local.host.pidfd import start_time_of

#: Seconds between the first signal and SIGKILL, where nobody says otherwise.
STOP_TIMEOUT = 10
#: Seconds after which a container that was killed is reported as one that will not die.
_KILL_PATIENCE = 30.0


class Control:
    """Signals, freezes and removes containers."""

    def __init__(
        self, lifecycle: Lifecycle, ledger: Ledger, toolbox: Toolbox, clock: IReactorTime
    ) -> None:
        self._lifecycle = lifecycle
        self._ledger = ledger
        self._toolbox = toolbox
        self._clock = clock

    async def stop(
        self,
        container: Container,
        signal_name: str = "",
        timeout: int | None = None,
        *,
        by_hand: bool = True,
    ) -> None:
        """Signal a container, wait for its end, kill it after `timeout` seconds (-1: never).

        `by_hand` says that a client wants it, after which restart policies leave it alone.
        Raises `NotModified` where it does not run, `InvalidParameter` for no signal.
        """
        check(Operation.STOP, container)
        config = container.config
        number = parse_signal(signal_name or config.stop_signal or "SIGTERM")
        if timeout is None:
            timeout = config.stop_timeout if config.stop_timeout is not None else STOP_TIMEOUT
        if await self._lifecycle.give_up_restart(container):
            self._ledger.publish(container, "stop")
            return
        container.untold_stops += 1
        try:
            await self._signal(container, number, by_hand=by_hand)
            patience = None if timeout < 0 else float(timeout)
            if not await self._lifecycle.ended(container, patience):
                await self._kill(container, by_hand=by_hand)
        except BaseException:
            container.untold_stops = max(0, container.untold_stops - 1)
            raise
        # The end of one that goes with it tells of the stop, before the removal.
        if container.untold_stops:
            container.untold_stops -= 1
            self._ledger.publish(container, "stop")

    async def _kill(self, container: Container, *, by_hand: bool = True) -> None:
        """Kill a container and wait for its end."""
        container.being_killed += 1
        try:
            await self._signal(container, signal.SIGKILL, by_hand=by_hand)
            if not await self._lifecycle.ended(container, _KILL_PATIENCE):
                raise EngineError(f"container {container.id} did not end when it was killed")
        finally:
            container.being_killed -= 1

    async def _signal(self, container: Container, number: int, *, by_hand: bool = True) -> None:
        """Send a signal, and thaw a container that it is to end."""
        restarts = container.host_config.restart_policy.name not in ("", "no")
        if by_hand and restarts:
            await self._note_hand(container)
        if number != signal.SIGKILL:
            await settled(container, self._clock)
        # Not earlier: it is closed, and its number another's, as soon as the container has ended.
        pidfd = self._lifecycle.pidfd(container)
        if pidfd is None:
            if by_hand and restarts:
                await self._lifecycle.give_up_restart(container)
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
        self._ledger.publish(container, "kill", signal=str(number))
        # A frozen process takes no signal; with cgroups of version 1 not even SIGKILL.
        frozen = container.being_frozen or container.state.status is Status.PAUSED
        if frozen and _ends(container, number):
            with suppress(EngineError):
                # Somebody else may have thawed it, or it has ended.
                await self.unpause(container)

    async def _note_hand(self, container: Container) -> None:
        """Write down, before it can end of it, that a client signalled a container."""
        async with container.lock:
            if container.state.running:
                await self._ledger.save(container, structs.replace(container.state, by_hand=True))

    async def kill(self, container: Container, number: int) -> None:
        """Send the signal `number`; SIGKILL waits for the end.

        Raises `Conflict` where the container does not run.
        """
        check(Operation.KILL, container)
        if await self._lifecycle.give_up_restart(container):
            return
        if number == signal.SIGKILL:
            await self._kill(container)
        else:
            await self._signal(container, number)

    async def restart(
        self, container: Container, signal_name: str = "", timeout: int | None = None
    ) -> None:
        """Stop a container where it runs, and start it; one to be removed at its end stays."""
        container.being_restarted += 1
        try:
            with suppress(NotModified):
                await self.stop(container, signal_name, timeout)
        finally:
            container.being_restarted -= 1
        # Someone else may have started it in between.
        with suppress(NotModified):
            await self._lifecycle.start(container)
        self._ledger.publish(container, "restart")

    async def pause(self, container: Container) -> None:
        """Freeze a container; raise `Conflict` where it is frozen or does not run."""
        async with container.lock:
            check(Operation.PAUSE, container)
            if container.being_killed:
                # Frozen now it would never end.
                raise Conflict(f"container {container.id} is not running")
            container.being_frozen = True
            try:
                await self._freeze(container, "pause", Status.PAUSED)
            finally:
                container.being_frozen = False
            if container.health is not None:
                container.health = container.health.unwatched()

    async def unpause(self, container: Container) -> None:
        """Thaw a container; raise `EngineError` where it is not frozen."""
        async with container.lock:
            check(Operation.UNPAUSE, container)
            await self._freeze(container, "resume", Status.RUNNING)

    async def _freeze(self, container: Container, command: str, status: Status) -> None:
        runtime = self._toolbox.require().runtime_of(container.id)
        try:
            await runtime.check(command, container.id)
        except EngineError:
            if start_time_of(container.state.pid) == container.state.start_time:
                raise
            # It has ended, which nobody has written down yet.
            raise Conflict(f"container {container.id} is not running") from None
        told = event(container, "pause" if status is Status.PAUSED else "unpause")
        await self._ledger.save(container, moved(container.state, status), told)

    async def remove(self, container: Container, *, force: bool, volumes: bool = False) -> None:
        """Remove a container; with `force`, kill it first.

        Raises `Conflict` where it runs and `force` is not given, and where it is being removed.
        """
        status = Status.REMOVING if container.removing else container.state.status
        refuse(Operation.FORCED_REMOVE if force else Operation.REMOVE, container, status)
        container.removing = True
        container.takes_volumes = volumes
        try:
            if force:
                await self._lifecycle.give_up_restart(container)
            if force and container.state.running:
                await self._kill(container)
            await self._lifecycle.remove(container)
        except BaseException:
            container.removing = False
            raise


def _ends(container: Container, number: int) -> bool:
    """Tell whether a signal is one that is to end `container`, as dockerd sees it."""
    stop_signal = container.config.stop_signal
    return number == signal.SIGKILL or not stop_signal or number == parse_signal(stop_signal)
