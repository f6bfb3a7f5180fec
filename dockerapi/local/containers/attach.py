"""Taking part in a container's streams: attach (also by websocket) and resize.

Rule: a container's hub exists from the first attach, perhaps before its start; `before_start`
connects it when the monitor is there and the process does not run yet, so no output is missed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from twisted.internet.interfaces import IReactorFDSet

from dockerapi.engine.answers import Answer, Hijack
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError
from dockerapi.engine.events import Event, EventBus
from dockerapi.engine.job import Job
from dockerapi.local.containers.conmon import Watch
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.detachkeys import parse_detach_keys
from dockerapi.local.containers.hub import Hub
from dockerapi.local.containers.logs import LogReader
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.streaming import Wanted, stream
from dockerapi.local.containers.transitions import Operation, check
from dockerapi.local.host.threads import in_thread
from dockerapi.model.streams import AttachRequest, ResizeRequest, stream_type
from dockerapi.wire.duplex import Duplex


class Attachments:
    """The hubs of all containers, and the operations that use them."""

    def __init__(
        self,
        registry: Registry,
        events: EventBus,
        reactor: IReactorFDSet,
        watch: Callable[[Container], Watch],
        logs: LogReader,
    ) -> None:
        self._registry = registry
        self._events = events
        self._reactor = reactor
        self._watch = watch
        self._logs = logs
        self._hubs: dict[str, Hub] = {}

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("ContainerAttach", self.attach)
        engine.register("ContainerAttachWebsocket", self.attach_websocket)
        engine.register("ContainerResize", self.resize)

    def stop(self) -> None:
        """Leave all monitors; what they watch runs on."""
        hubs, self._hubs = self._hubs, {}
        for hub in hubs.values():
            hub.close()

    def before_start(self, container: Container, watch: Watch) -> None:
        """Connect a container's hub to its new monitor; the process waits meanwhile.

        A container that nobody follows is not connected until someone does, unless its input must
        be kept open.
        """
        hub = self._hubs.get(container.id)
        if (hub is not None and hub.followed) or container.config.open_stdin:
            self._hub(container).connect(watch.attach_socket)

    def ended(self, container: Container) -> None:
        """Forget the hub of a container that has ended or failed to start."""
        hub = self._hubs.pop(container.id, None)
        if hub is not None and not hub.connected:
            hub.close()

    async def attach(self, job: Job) -> Answer:
        """Answer ContainerAttach with the connection itself."""
        request = await job.request(AttachRequest)
        container = self._registry.get(request.container)
        return self._attach(request, container, framed=not container.config.tty)

    async def attach_websocket(self, job: Job) -> Answer:
        """Answer ContainerAttachWebsocket: never framed, all streams unless some are named."""
        request = await job.request(AttachRequest)
        container = self._registry.get(request.container)
        return self._attach(request, container, framed=False, leaves=True)

    async def resize(self, job: Job) -> Answer:
        """Answer ContainerResize; raises `Conflict` for a container that does not run."""
        request = await job.request(ResizeRequest)
        container = self._registry.get(request.target)
        check(Operation.INSIDE, container, request.target)
        if not await resize(self._watch(container), request.height, request.width):
            raise Conflict(f"container {container.id} is not running")
        self._publish(container, "resize", height=str(request.height), width=str(request.width))
        return None

    def _attach(
        self, request: AttachRequest, container: Container, *, framed: bool, leaves: bool = False
    ) -> Answer:
        keys = parse_detach_keys(request.detach_keys)
        check(Operation.ATTACH, container, request.container)
        config = container.config
        wanted = Wanted(
            stdin=request.stdin and config.open_stdin,
            output=bool(request.outputs),
            once=config.stdin_once and not config.tty,
            detach=keys if config.tty or request.detach_keys else None,
            leaves=leaves,
        )

        async def serve(duplex: Duplex) -> None:
            hub = self._connected_hub(container)
            follower = hub.follow(request.outputs if request.stream else (), framed=framed)
            try:
                if request.logs and request.outputs:
                    await self._logs.send_past(container, request.outputs, duplex, framed=framed)
                if request.stream and (wanted.output or wanted.stdin):
                    self._publish(container, "attach")
                    if await stream(hub, follower, duplex, wanted):
                        self._publish(container, "detach")
            finally:
                follower.leave()

        return Hijack(serve, stream_type(request.version, framed=framed))

    def _connected_hub(self, container: Container) -> Hub:
        hub = self._hub(container)
        if container.state.running and not hub.connected:
            try:
                hub.connect(self._watch(container).attach_socket)
            except OSError as error:
                raise EngineError(
                    f"the monitor of container {container.id} is gone: {error}"
                ) from error
        return hub

    def _hub(self, container: Container) -> Hub:
        hub = self._hubs.get(container.id)
        if hub is None:
            hub = self._hubs[container.id] = Hub(self._reactor)
        return hub

    def _publish(self, container: Container, action: str, **more: str) -> None:
        attributes = container.event_attributes(**more)
        self._events.publish(Event("container", action, container.id, attributes))


async def resize(watch: Watch, height: int, width: int) -> bool:
    """Tell a monitor the size of its terminal; False where the monitor has ended.

    Raises `EngineError` where it cannot be told.
    """
    if not watch.terminal:
        return True
    return await in_thread(_write_control, watch.control_pipe, b"1 %d %d\n" % (height, width))


def _write_control(path: Path, line: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # No pipe, or nobody who reads it: the end is about to be told.
        if error.errno in (errno.ENOENT, errno.ENXIO):
            return False
        raise EngineError(f"the terminal cannot be resized: {error.strerror}") from error
    try:
        os.write(descriptor, line)
    except BrokenPipeError:
        return False
    finally:
        os.close(descriptor)
    return True
