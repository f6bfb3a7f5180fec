"""A container's life: made, started, ended, removed.

Rule: every change holds the container's lock, is committed before it is told, and is undone in
reverse where it fails half-way; cleaning up comes after the answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import attrs
import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.errors import Conflict, EngineError, NotModified
from dockerapi.engine.events import Event, EventBus
from dockerapi.local.containers import records
from dockerapi.local.containers.conmon import RuntimeFailed, Watch, launch
from dockerapi.local.containers.container import Container, Exit, State, Status
from dockerapi.local.containers.creation import Image
from dockerapi.local.containers.monitor import End, until_ended
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.rootfs import Directories, Host, prepare, remove, unmount_root
from dockerapi.local.containers.runtime import RUNTIMES, Runtime, StartFailed, start_error
from dockerapi.local.containers.security.filters import ANNOTATION, compiled
from dockerapi.local.containers.spec import runtime_spec
from dockerapi.local.host.pidfd import open_process, start_time_of
from dockerapi.local.host.spawn import find_program
from dockerapi.local.host.threads import in_thread
from dockerapi.local.layout import Layout
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.local.store import Store


class Images(Protocol):
    """What containers need of images."""

    async def resolve(self, reference: str) -> Image: ...  # noqa: D102
    def layer_paths(self, image: Any) -> Sequence[Path]: ...  # noqa: D102


class Networks(Protocol):
    """What containers need of networks."""

    async def connect(  # noqa: D102
        self, container_id: str, mode: str, *, name: str, hostname: str
    ) -> Sandbox: ...
    async def disconnect(self, container_id: str) -> None: ...  # noqa: D102
    async def reconcile(self, living: Collection[str]) -> None: ...  # noqa: D102
    def sandbox(self, container_id: str) -> Sandbox | None: ...  # noqa: D102


@attrs.frozen
class Tools:
    """The programs that containers are run by.

    :ivar conmon: the path of conmon.
    :ivar host: the init program and the kind of cgroups.
    """

    runtime: Runtime
    conmon: str
    host: Host

    def runtime_of(self, identity: str) -> Runtime:
        """Return the runtime that keeps the container `identity`; `runtime` where none does.

        Its state says which one: a server may have been started with another runtime since.
        Raises `MissingProgram` where it is not installed any more.
        """
        for name in RUNTIMES:
            root = self.runtime.root.parent / name
            if name != self.runtime.name and (root / identity).exists():
                return attrs.evolve(self.runtime, name=name, path=find_program(name), root=root)
        return self.runtime


class Running:
    """The live part of a container: what this process holds of it.

    :ivar pidfd: of its first process.
    """

    def __init__(self, pidfd: int) -> None:
        self.pidfd = pidfd
        self._waiters: list[Deferred[bool]] = []

    async def ended(self, timeout: float | None, clock: IReactorTime) -> bool:
        """Return whether the end was recorded within `timeout` seconds (for ever if None)."""
        waiter: Deferred[bool] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        if timeout is not None:
            waiter.addTimeout(timeout, clock, onTimeoutCancel=lambda _, __: False)
        return await waiter

    def tell(self) -> None:
        """Tell everyone that the end has been recorded."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(True)


_RUNNING = (
    'cannot remove container "{name}": container is running: '
    "stop the container before removing or force remove"
)


class Lifecycle:
    """Carries out the transitions of containers.

    :ivar tools: set at start; None where something is missing, and `missing` says what.
    :ivar monitored: called when a container's monitor is there and its process waits to be let go.
    :ivar let_go: called when a container has ended, or failed to start.
    """

    log = Logger()

    def __init__(
        self,
        store: Store,
        layout: Layout,
        registry: Registry,
        images: Images,
        networks: Networks,
        events: EventBus,
        clock: IReactorTime,
    ) -> None:
        self.tools: Tools | None = None
        self.missing = "the engine has not started"
        self.changed: Callable[[], None] = lambda: None
        self.monitored: Callable[[Container, Watch], None] = lambda _, __: None
        self.let_go: Callable[[Container], None] = lambda _: None
        self._store = store
        self._layout = layout
        self._registry = registry
        self._images = images
        self._networks = networks
        self._events = events
        self._clock = clock
        self._running: dict[str, Running] = {}
        #: Waiting for ends, given up at `stop`; and cleaning up, finished before it.
        self._watching: set[Deferred[None]] = set()
        self._cleaning: set[Deferred[None]] = set()

    def directories(self, container: Container) -> Directories:
        """Return where the parts of `container` are."""
        return Directories.of(self._layout, container.id)

    async def layers(self, container: Container) -> Sequence[Path]:
        """Return the directories of the container's image, topmost first; raise `NotFound`."""
        return self._images.layer_paths(await self._images.resolve(container.image))

    def watch(self, container: Container) -> Watch:
        """Return what conmon was, or will be, told of `container`."""
        directories = self.directories(container)
        config = container.config
        return Watch(
            container_id=container.id,
            name=container.name,
            bundle=directories.run,
            directory=directories.run,
            log=None if container.host_config.log_config.type == "none" else directories.log,
            terminal=config.tty,
            stdin=config.open_stdin,
            stdin_once=config.stdin_once,
        )

    def pidfd(self, container: Container) -> int | None:
        """Return a descriptor of the first process of a running container (not to be closed)."""
        running = self._running.get(container.id)
        return None if running is None else running.pidfd

    async def create(self, container: Container) -> None:
        """Make a container known; its name is reserved."""
        await self._store.write(lambda connection: records.insert(connection, container))
        self._registry.add(container)
        self.changed()
        self.publish(container, "create")

    async def start(self, container: Container) -> None:
        """Start a container.

        Raises `NotModified` where it runs, `Conflict` where it is paused or being removed, and in
        the runtime's words what the runtime refused.
        """
        await container.lock.run(lambda: Deferred.fromCoroutine(self._start(container)))

    async def _start(self, container: Container) -> None:
        state = container.state
        if state.status is Status.PAUSED:
            raise Conflict("cannot start a paused container, try unpause instead")
        if state.running:
            raise NotModified("container is already running")
        if state.status is Status.REMOVING:
            raise Conflict("container is marked for removal and cannot be started")
        if self.tools is None:
            raise EngineError(self.missing)
        try:
            await self._launch(container, self.tools)
        except BaseException as error:
            await self._fail(container, error)
            raise

    async def _launch(self, container: Container, tools: Tools) -> None:
        sandbox = await self._networks.connect(
            container.id,
            container.host_config.network_mode,
            name=container.name,
            hostname=container.config.hostname,
        )
        container.sandbox = sandbox
        layers = await self.layers(container)

        with ExitStack() as stack:
            namespace = _by_descriptor(stack, sandbox.path)

            def write_bundle() -> None:
                root = prepare(container, layers, self._layout, sandbox, namespace, tools.host)
                spec = runtime_spec(container, root)
                profile = spec["linux"].get("seccomp")
                if profile is not None and tools.runtime.takes_filters:
                    _add_filter(spec, profile)
                document = msgspec.json.encode(spec)
                (self.directories(container).run / "config.json").write_bytes(document)

            await in_thread(write_bundle)
            watch = self.watch(container)
            try:
                monitored = await launch(watch, tools.conmon, tools.runtime)
            except RuntimeFailed as failed:
                raise start_error(failed.message) from failed
        pidfd = open_process(monitored.pid)
        try:
            self.monitored(container, watch)
            await tools.runtime.start(container.id, pidfd)
            await self._record_start(container, monitored.pid)
        except BaseException:
            os.close(pidfd)
            raise
        conmon = Deferred.fromCoroutine(monitored.conmon.wait())
        self.follow(container, pidfd, conmon.addCallback(lambda _: None), watch)

    async def _record_start(self, container: Container, pid: int) -> None:
        container.state = State(
            status=Status.RUNNING,
            pid=pid,
            start_time=start_time_of(pid) or 0,
            started_at=time.time_ns(),
        )
        await self.save(container)
        self.publish(container, "start")

    async def _fail(self, container: Container, error: BaseException) -> None:
        """Undo a start that failed, and record why."""
        message = error.message if isinstance(error, EngineError) else str(error)
        code = error.exit_code if isinstance(error, StartFailed) else 128
        state = container.state
        status = Status.CREATED if state.running else state.status
        container.state = attrs.evolve(
            state, status=status, pid=0, start_time=0, exit_code=code, error=message
        )
        self.let_go(container)
        await self._clean_up(container, by_force=True)
        if container.host_config.auto_remove:
            await self._forget(container)
            container.tell_removal(Exit(code))
            await in_thread(remove, self.directories(container))
        else:
            await self.save(container)

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

    async def end(self, container: Container, end: End) -> None:
        """Record the end of a container and tell of it, then clean up behind it."""
        await container.lock.acquire()
        try:
            container.state = attrs.evolve(
                container.state,
                status=Status.EXITED,
                pid=0,
                start_time=0,
                exit_code=end.code,
                oom_killed=end.oom_killed,
                finished_at=end.finished_at,
            )
            if container.host_config.auto_remove:
                await self._forget(container)
            else:
                await self.save(container)
            self._tell_end(container, end)
            await self._clean_up(container)
        finally:
            container.lock.release()
        if container.host_config.auto_remove:
            await in_thread(remove, self.directories(container))

    def _tell_end(self, container: Container, end: End) -> None:
        running = self._running.pop(container.id, None)
        if end.oom_killed:
            self.publish(container, "oom")
        seconds = max(0, end.finished_at - container.state.started_at) // 1_000_000_000
        self.publish(container, "die", execDuration=str(seconds), exitCode=str(end.code))
        container.tell_exit(Exit(end.code))
        self.let_go(container)
        if running is not None:
            os.close(running.pidfd)
            running.tell()
        if container.host_config.auto_remove:
            self.publish(container, "destroy")
            container.tell_removal(Exit(end.code))

    async def _clean_up(self, container: Container, *, by_force: bool = False) -> None:
        """Take away what a container has beside its files: runtime state, mount, network."""
        try:
            if self.tools is not None:
                private = container.host_config.pid_mode != "host" and not by_force
                runtime = self.tools.runtime_of(container.id)
                await runtime.delete(container.id, by_hand=private)
            await in_thread(unmount_root, self.directories(container))
            await self._networks.disconnect(container.id)
        except Exception:
            self.log.failure("cleaning up after the container {id} failed", id=container.id)
        container.sandbox = None

    async def _forget(self, container: Container) -> None:
        """Remove a container from the database and from memory."""
        await self._store.write(lambda connection: records.delete(connection, container.id))
        self._registry.remove(container)
        container.state.status = Status.REMOVING
        self.changed()

    async def remove(self, container: Container) -> None:
        """Remove a container that does not run; its files go after the answer.

        Raises `Conflict` where it runs, or is being removed already.
        """
        await container.lock.acquire()
        try:
            if container.state.status is Status.REMOVING:
                raise Conflict(f"removal of container {container.name} is already in progress")
            if container.state.running:
                raise Conflict(_RUNNING.format(name=container.name))
            await self._forget(container)
            self.let_go(container)
            self.publish(container, "destroy")
            container.tell_removal(Exit(container.state.exit_code))
        finally:
            container.lock.release()
        self._keep(self._cleaning, _finish(in_thread(remove, self.directories(container))))

    async def rename(self, container: Container, name: str) -> None:
        """Give a container the reserved name `name`; its old one is free then."""
        async with container.lock:
            old = container.name
            try:
                await self._store.write(
                    lambda connection: records.rename(connection, container.id, name)
                )
            except BaseException:
                self._registry.release(name)
                raise
            container.name = name
            self._registry.release(old)
            self.changed()
            self.publish(container, "rename", oldName=f"/{old}")

    async def ended(self, container: Container, timeout: float | None = None) -> bool:
        """Return whether a container's end has been recorded within `timeout` seconds."""
        running = self._running.get(container.id)
        return True if running is None else await running.ended(timeout, self._clock)

    async def save(self, container: Container) -> None:
        """Commit a container's state."""
        state = container.state
        await self._store.write(
            lambda connection: records.update_state(connection, container.id, state)
        )
        self.changed()

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        """Publish an event of `container`."""
        self._events.publish(
            Event("container", action, container.id, container.event_attributes(**attributes))
        )

    def publish_prune(self, reclaimed: int) -> None:
        """Publish the event of a prune that freed `reclaimed` bytes."""
        self._events.publish(Event("container", "prune", "", {"reclaimed": str(reclaimed)}))

    async def stop(self) -> None:
        """Let containers run on; finish cleaning up behind those that ended."""
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


def _add_filter(spec: dict[str, Any], profile: dict[str, Any]) -> None:
    """Add the compiled form of `profile` to a container's configuration."""
    filter_program = compiled(profile)
    if filter_program is not None:
        spec["annotations"] = {ANNOTATION: filter_program}


def _by_descriptor(stack: ExitStack, path: Path | None) -> Path | None:
    """Return a name of the file `path` that holds in every mount namespace, while `stack` does."""
    if path is None:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")


async def _finish(deferred: Deferred[None]) -> None:
    await deferred


def _settled(task: Deferred[None]) -> Deferred[None]:
    """Return a Deferred that fires when `task` has, without being in its way."""
    settled: Deferred[None] = Deferred()

    def tell(result: Any) -> Any:
        settled.callback(None)
        return result

    task.addBoth(tell)
    return settled
