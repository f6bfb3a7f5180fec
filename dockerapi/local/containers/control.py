"""What is done to containers that live: stop, kill, pause, restart, force their removal.

Rule: nothing here holds a container's lock while it waits for an end.
"""

from __future__ import annotations

import signal
from contextlib import suppress

import attrs

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotModified
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.lifecycle import Lifecycle
from dockerapi.local.containers.signals import parse_signal

#: Seconds between the first signal and SIGKILL, where nobody says otherwise.
STOP_TIMEOUT = 10
#: Seconds after which a container that was killed is reported as one that will not die.
_KILL_PATIENCE = 30.0


class Control:
    """Signals and freezes containers through their `Lifecycle`."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    async def stop(
        self, container: Container, signal_name: str = "", timeout: int | None = None
    ) -> None:
        """Signal a container, wait for its end, kill it after `timeout` seconds (-1: never).

        Raises `NotModified` where it does not run.
        """
        if not container.state.running:
            raise NotModified("container is already stopped")
        config = container.config
        number = parse_signal(signal_name or config.stop_signal or "SIGTERM")
        if timeout is None:
            timeout = config.stop_timeout if config.stop_timeout is not None else STOP_TIMEOUT
        await self._signal(container, number)
        patience = None if timeout < 0 else float(timeout)
        if not await self._lifecycle.ended(container, patience):
            await self._kill(container)
        self._lifecycle.publish(container, "stop")

    async def _kill(self, container: Container) -> None:
        """Kill a container and wait for its end."""
        await self._signal(container, signal.SIGKILL)
        if not await self._lifecycle.ended(container, _KILL_PATIENCE):
            raise EngineError(f"container {container.id} did not end when it was killed")

    async def _signal(self, container: Container, number: int) -> None:
        pidfd = self._lifecycle.pidfd(container)
        if pidfd is None:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)
        self._lifecycle.publish(container, "kill", signal=str(number))
        # A frozen process takes no signal; with cgroups of version 1 not even SIGKILL.
        if container.state.status is Status.PAUSED and number in (signal.SIGKILL, signal.SIGTERM):
            await self.unpause(container)

    async def kill(self, container: Container, signal_name: str) -> None:
        """Send a signal; SIGKILL waits for the end.

        Raises `InvalidParameter` for no signal, `Conflict` where the container does not run.
        """
        try:
            number = parse_signal(signal_name or "SIGKILL")
        except InvalidParameter as bad:
            name = container.name
            raise InvalidParameter(f"cannot kill container: {name}: {bad.message}") from None
        if not container.state.running:
            raise Conflict(
                f"cannot kill container: {container.name}: container {container.id} is not running"
            )
        if number == signal.SIGKILL:
            await self._kill(container)
        else:
            await self._signal(container, number)

    async def restart(
        self, container: Container, signal_name: str = "", timeout: int | None = None
    ) -> None:
        """Stop a container where it runs, and start it."""
        with suppress(NotModified):
            await self.stop(container, signal_name, timeout)
        await self._lifecycle.start(container)
        self._lifecycle.publish(container, "restart")

    async def pause(self, container: Container) -> None:
        """Freeze a container; raise `Conflict` where it is frozen or does not run."""
        async with container.lock:
            if container.state.status is Status.PAUSED:
                raise Conflict(f"container {container.id} is already paused")
            await self._freeze(container, "pause", Status.PAUSED)

    async def unpause(self, container: Container) -> None:
        """Thaw a container; raise `EngineError` where it is not frozen."""
        async with container.lock:
            if container.state.status is not Status.PAUSED:
                raise EngineError(f"Container {container.id} is not paused")
            await self._freeze(container, "resume", Status.RUNNING)

    async def _freeze(self, container: Container, command: str, status: Status) -> None:
        if not container.state.running:
            raise Conflict(f"container {container.id} is not running")
        if self._lifecycle.tools is None:
            raise EngineError(self._lifecycle.missing)
        runtime = self._lifecycle.tools.runtime_of(container.id)
        await runtime.check(command, container.id)
        container.state = attrs.evolve(container.state, status=status)
        await self._lifecycle.save(container)
        self._lifecycle.publish(container, "pause" if status is Status.PAUSED else "unpause")

    async def remove(self, container: Container, *, force: bool) -> None:
        """Remove a container; with `force`, kill it first.

        Raises `Conflict` where it runs and `force` is not given.
        """
        if container.state.status is Status.PAUSED and not force:
            raise Conflict(
                f'cannot remove container "{container.name}": '
                "container is paused and must be unpaused first"
            )
        if force and container.state.running:
            await self._kill(container)
            if container.host_config.auto_remove:
                return
        await self._lifecycle.remove(container)
