"""Taking part in a container's streams: attach (also by websocket) and resize.

Rule: a container's hub exists from the first attach, perhaps before its start; `before_start`
connects it when the monitor is there and the process does not run yet, so no output is missed.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime

from dockerapi.engine.answers import Answer, Hijack
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError
from dockerapi.engine.events import Event, EventBus
from dockerapi.engine.job import Job
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.life.transitions import Operation, check
from dockerapi.local.containers.logs.operation import ContainerLogs
from dockerapi.local.containers.logs.spool.ctl import say
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.conmon import Watch
from dockerapi.local.containers.runtime.monitor import is_there
from dockerapi.local.containers.streams.detachkeys import parse_detach_keys
from dockerapi.local.containers.streams.hub import Hub
from dockerapi.local.containers.streams.streaming import Left, Output, Wanted, stream
from dockerapi.local.host.pidfd import start_time_of
from dockerapi.local.host.threads import in_thread
from dockerapi.model.streams import AttachRequest, ResizeRequest, stream_type
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import Duplex, Sink

#: How long an attach whose output has ended waits for the end to be recorded, in seconds.
PATIENCE = 3.0
#: From here on a client by websocket chooses its streams; before it had all.
_CHOICE = Version(1, 42)


class Attachments(Observer):
    """The hubs of all containers, and the operations that use them."""

    def __init__(
        self,
        registry: Registry,
        events: EventBus,
        reactor: IReactorFDSet,
        watch: Callable[[Container], Watch],
        logs: ContainerLogs,
    ) -> None:
        self._registry = registry
        self._events = events
        self._reactor = reactor
        self._clock = IReactorTime(reactor)
        self._watch = watch
        self._logs = logs
        self._hubs: dict[str, Hub] = {}

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("ContainerAttach", self.attach, follows=True)
        engine.register("ContainerAttachWebsocket", self.attach_websocket, follows=True)
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
        return self._attach(request, raw=False)

    async def attach_websocket(self, job: Job) -> Answer:
        """Answer ContainerAttachWebsocket: never framed, and its client cannot half-close."""
        request = await job.request(AttachRequest)
        if request.version < _CHOICE:
            request = structs.replace(request, stdin=True, stdout=True, stderr=True)
        return self._attach(request, raw=True)

    async def resize(self, job: Job) -> Answer:
        """Answer ContainerResize; raises `Conflict` for a container that does not run."""
        request = await job.request(ResizeRequest)
        container = self._registry.get(request.target)
        check(Operation.INSIDE, container, request.target)
        if not await resize(self._watch(container), request.height, request.width):
            raise Conflict(f"container {container.id} is not running")
        self._publish(container, "resize", height=str(request.height), width=str(request.width))
        return None

    def _attach(self, request: AttachRequest, *, raw: bool) -> Answer:
        keys = parse_detach_keys(request.detach_keys)
        container = self._registry.get(request.container)
        check(Operation.ATTACH, container, request.container)
        if _runs(container) and not is_there(self._watch(container).conmon_pid_file):
            raise EngineError(
                f"container {container.id} cannot be attached to: its monitor (conmon) is gone; "
                "restart it"
            )
        config = container.config
        framed = not raw and not config.tty
        wanted = Wanted(
            stdin=request.stdin and config.open_stdin,
            output=bool(request.outputs),
            once=config.stdin_once and not config.tty,
            detach=keys if config.tty else None,
            leaves=raw,
        )

        async def serve(duplex: Duplex) -> None:
            if container.id not in self._registry:
                # Removed since: its end was told already.
                return
            if request.stream:
                await self._stream(request, container, duplex, wanted, framed=framed)
                return
            if request.logs and request.outputs:
                await self._logs.send_past(container, request.outputs, duplex, framed=framed)
            self._publish(container, "attach")

        return Hijack(serve, stream_type(request.version, framed=framed))

    async def _stream(
        self,
        request: AttachRequest,
        container: Container,
        duplex: Duplex,
        wanted: Wanted,
        *,
        framed: bool,
    ) -> None:
        ran = container.state.running
        hub = self._hub(container)
        output: Output
        reads = request.logs and bool(request.outputs)
        if reads and container.host_config.log_config.type != "none":
            # What was written and what is being written come from one reading of one log, so
            # that nothing is lost or told twice between them.
            output = _LogOutput(self._logs, container, request.outputs, framed=framed)
        else:
            output = hub.follow(request.outputs, framed=framed)
        try:
            self._connect(hub, container)
            self._publish(container, "attach")
            left = Left.INPUT
            if wanted.output or wanted.stdin:
                left = await stream(hub, output, duplex, wanted)
        finally:
            output.leave()
        if left is Left.DETACHED:
            self._publish(container, "detach")
        elif ran and left is not Left.GONE and (wanted.once or left is Left.ENDED):
            await self._ended(container, None if wanted.once else PATIENCE)

    async def _ended(self, container: Container, patience: float | None) -> None:
        """Return once the end of a container can be read; after `patience` seconds at the latest.

        Whoever sees its stream end may ask at once how it ended.
        """
        if container.state.running:
            end = container.next_exit()
            if patience is not None:
                end.addTimeout(patience, self._clock, onTimeoutCancel=lambda _, __: None)
            await end

    def _connect(self, hub: Hub, container: Container) -> None:
        if container.state.running and not hub.connected:
            try:
                hub.connect(self._watch(container).attach_socket)
            except OSError as error:
                if not _runs(container):
                    # Its end is being recorded, which closes the hub; what it wrote is in its log.
                    return
                raise EngineError(
                    f"the monitor of container {container.id} is gone: {error}"
                ) from error

    def _hub(self, container: Container) -> Hub:
        hub = self._hubs.get(container.id)
        if hub is None:
            hub = self._hubs[container.id] = Hub(self._reactor)
        return hub

    def _publish(self, container: Container, action: str, **more: str) -> None:
        attributes = container.event_attributes(**more)
        self._events.publish(Event("container", action, container.id, attributes))


def _runs(container: Container) -> bool:
    """Tell whether the process of a container is there; its end may be recorded only later."""
    state = container.state
    return state.running and start_time_of(state.pid) == state.start_time


class _LogOutput:
    """A container's output from its log: what was written, and what goes on to be."""

    def __init__(
        self, logs: ContainerLogs, container: Container, streams: frozenset[int], *, framed: bool
    ) -> None:
        self._logs = logs
        self._container = container
        self._streams = streams
        self._framed = framed
        self._left = False
        self._giving: Deferred[None] | None = None

    async def give(self, sink: Sink) -> None:
        """Write the output to `sink`, until its end or until this has left."""
        self._giving = Deferred.fromCoroutine(
            self._logs.follow_all(self._container, self._streams, sink, framed=self._framed)
        )
        try:
            await self._giving
        except CancelledError:
            if not self._left:
                raise

    def leave(self) -> None:
        """Stop reading."""
        self._left = True
        if self._giving is not None:
            self._giving.cancel()


async def resize(watch: Watch, height: int, width: int) -> bool:
    """Tell a monitor the size of its terminal; False where the monitor has ended.

    Raises `EngineError` where it cannot be told.
    """
    if not watch.terminal:
        return True
    line = b"1 %d %d\n" % (height & 0xFFFF, width & 0xFFFF)
    try:
        return await in_thread(say, watch.control_pipe, line)
    except OSError as error:
        raise EngineError(f"the terminal cannot be resized: {error.strerror}") from error
