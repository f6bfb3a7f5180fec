"""The operations of the tag Container that concern a container's life.

Source: ContainerCreate, ContainerStart, ... of the specification. Rule: a handler decodes, calls,
and shapes the answer; what a client started runs on when it leaves.
"""

from __future__ import annotations

import attrs
import msgspec
from msgspec import structs

from dockerapi.engine.answers import Answer, Encoded, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.engine.job import Job
from dockerapi.local.containers.container import Container, Exit, Status
from dockerapi.local.containers.creation.creation import (
    adapt_host,
    check_body,
    check_name,
    new_container,
)
from dockerapi.local.containers.creation.endpoints import check_endpoints
from dockerapi.local.containers.creation.names import choose_name
from dockerapi.local.containers.creation.networking import exposed_with_bindings
from dockerapi.local.containers.foundation import Foundation
from dockerapi.local.containers.life.control import Control
from dockerapi.local.containers.life.lifecycle import Lifecycle
from dockerapi.local.containers.life.transitions import Operation, check
from dockerapi.local.containers.links import resolve_links, without
from dockerapi.local.containers.logs.options import with_default
from dockerapi.local.containers.mounts.parsing import check_sources, parse_mounts
from dockerapi.local.containers.mounts.volumes import VolumeMounts
from dockerapi.local.containers.needs import Networks
from dockerapi.local.containers.runtime.cgroups import cgroup_path
from dockerapi.local.containers.runtime.joining import resolve_joined
from dockerapi.local.containers.runtime.namespaces import resolve_modes
from dockerapi.local.containers.runtime.resources import cgroup_support
from dockerapi.local.containers.signals import parse_signal
from dockerapi.local.containers.views.inspection import Inspection
from dockerapi.local.containers.views.top import top
from dockerapi.local.host.threads import in_thread
from dockerapi.model.container_requests import (
    ContainerRequest,
    CreateRequest,
    DeleteRequest,
    InspectRequest,
    KillRequest,
    ListRequest,
    PruneRequest,
    RenameRequest,
    StartRequest,
    StopRequest,
    TopRequest,
    WaitRequest,
)
from dockerapi.model.containers import HostConfig, LogConfig
from dockerapi.model.createversions import version_warnings
from dockerapi.model.defaults import ContainerDefaults
from dockerapi.model.moments import parse_until
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import Sink

#: From here on killing what does not run is an error.
_KILL_TELLS = Version(1, 20)


class Operations:
    """Handlers of the engine's jobs."""

    def __init__(
        self,
        foundation: Foundation,
        lifecycle: Lifecycle,
        control: Control,
        networks: Networks,
        volumes: VolumeMounts,
        log: LogConfig,
        defaults: ContainerDefaults,
    ) -> None:
        """Handle operations on the containers of `foundation`.

        Those that choose no log driver have that of `log`; `defaults` is what else they have.
        """
        self._registry = foundation.registry
        self._ledger = foundation.ledger
        self._places = foundation.places
        self._toolbox = foundation.toolbox
        self._listing = foundation.listing
        self._sizes = foundation.sizes
        self._images = foundation.images
        self._inspection = Inspection(self._registry, self._places, self._sizes, defaults.ulimits)
        self._lifecycle = lifecycle
        self._control = control
        self._log = log
        self._defaults = defaults
        self._networks = networks
        self._volumes = volumes

    def register(self, engine: Engine) -> None:
        """Register every handler of this class."""
        for name, handler in (
            ("ContainerCreate", self.create),
            ("ContainerStart", self.start),
            ("ContainerStop", self.stop),
            ("ContainerRestart", self.restart),
            ("ContainerKill", self.kill),
            ("ContainerPause", self.pause),
            ("ContainerUnpause", self.unpause),
            ("ContainerRename", self.rename),
            ("ContainerDelete", self.delete),
            ("ContainerPrune", self.prune),
        ):
            engine.register(name, handler, detached=True)
        engine.register("ContainerWait", self.wait, follows=True)
        engine.register("ContainerList", self.list)
        engine.register("ContainerInspect", self.inspect)
        engine.register("ContainerTop", self.top)

    async def create(self, job: Job) -> Answer:
        """Answer ContainerCreate: the id, and warnings for what has no effect.

        Raises `InvalidParameter` for what can never be, `NotFound` where the image is not here, and
        `Conflict` where another container has the name.
        """
        request = await job.request(CreateRequest)
        # It is likely to be started next.
        self._toolbox.grace.begin()
        name = check_name(request.name) if request.name else ""
        if not request.body.image:
            empty = "config cannot be empty in order to create a container"
            raise InvalidParameter(empty if request.is_empty else "no command specified")
        host = request.body.host_config = request.body.host_config or HostConfig()
        self._complete(host, request.body.runtime)
        check_body(request.body.container_config(), host, job.version)
        check_endpoints(request.body, self._networks.find, job.version)
        await in_thread(check_sources, host)
        # Nothing is awaited from here on until the registry knows that the image is used.
        image = await self._images.resolve(request.body.image)
        image.check_platform(request.platform, request.body.image)
        self._resolve(host)
        name = name or choose_name(self._registry.taken)
        container, warnings = new_container(
            request, image, name, str(job.principal), cgroup_support(), job.version
        )
        with self._registry.making(container):
            try:
                await self._volumes.prepare(container, parse_mounts(host, job.version))
                await self._ledger.insert(container)
            except BaseException:
                await self._volumes.undo(container)
                raise
        warnings += version_warnings(request.body, job.version)
        return {"Id": container.id, "Warnings": warnings}

    async def start(self, job: Job) -> None:
        """Answer ContainerStart."""
        request = await job.request(StartRequest)
        container = self._registry.get(request.container)
        if request.host is not None:
            await self._reconfigure(container, request.host, job.version)
        await self._lifecycle.start(container)

    def _complete(self, host: HostConfig, runtime: object = "") -> None:
        """Write into `host` what the server's options say where a client says nothing."""
        host.log_config = with_default(host.log_config, self._log)
        host.ipc_mode = host.ipc_mode or self._defaults.ipc_mode
        host.shm_size = host.shm_size or self._defaults.shm_size
        if self._toolbox.tools is not None:
            host.runtime = self._toolbox.tools.runtimes.choose(host.runtime, runtime)

    def _resolve(self, host: HostConfig) -> None:
        """Write into `host` the ids of the containers that it names."""
        resolve_joined(host, self._registry)
        resolve_modes(host, self._registry)
        resolve_links(host, self._registry)

    async def _reconfigure(self, container: Container, host: HostConfig, version: Version) -> None:
        """Give a container that does not run another host configuration, before it is started.

        So early clients say it, whose create has none (removed in API 1.24).
        """
        self._complete(host)
        # Nothing is shown as an empty list, as by dockerd.
        host.dns, host.dns_options = host.dns or [], host.dns_options or []
        host.dns_search = host.dns_search or []
        check_body(container.config, host, version)
        await in_thread(check_sources, host)
        self._resolve(host)
        host, _ = adapt_host(host, cgroup_support())
        async with container.lock:
            check(Operation.START, container)
            before = container.mounts
            config = structs.replace(container.config)
            config.exposed_ports = exposed_with_bindings(config, host)
            draft = attrs.evolve(
                container, config=config, host_config=host, mounts=(), made_volumes=[]
            )
            await self._volumes.revise(container, draft, parse_mounts(host, version))
            await self._ledger.replace(container, draft)
            await self._volumes.replaced(before, container)

    async def stop(self, job: Job) -> None:
        """Answer ContainerStop."""
        request = await job.request(StopRequest)
        container = self._registry.get(request.container)
        await self._control.stop(container, request.signal, request.timeout)

    async def restart(self, job: Job) -> None:
        """Answer ContainerRestart; whatever prevents it is told as dockerd's own failure."""
        request = await job.request(StopRequest)
        container = self._registry.get(request.container)
        try:
            await self._control.restart(container, request.signal, request.timeout)
        except EngineError as error:
            text = f"Cannot restart container {request.container}: {error.message}"
            raise EngineError(text) from error

    async def kill(self, job: Job) -> None:
        """Answer ContainerKill.

        Raises `InvalidParameter` for no signal, `NotFound` where there is no such container, and
        `Conflict` where it does not run.
        """
        request = await job.request(KillRequest)
        try:
            number = parse_signal(request.signal or "SIGKILL")
            container = self._registry.get(request.container)
        except (InvalidParameter, NotFound) as error:
            text = f"cannot kill container: {request.container}: {error.message}"
            raise type(error)(text) from error
        try:
            await self._control.kill(container, number)
        except Conflict:
            # One that does not run was no error once.
            if job.version >= _KILL_TELLS or container.state.running:
                raise

    async def pause(self, job: Job) -> None:
        """Answer ContainerPause."""
        request = await job.request(ContainerRequest)
        await self._control.pause(self._registry.get(request.container))

    async def unpause(self, job: Job) -> None:
        """Answer ContainerUnpause."""
        request = await job.request(ContainerRequest)
        await self._control.unpause(self._registry.get(request.container))

    async def rename(self, job: Job) -> None:
        """Answer ContainerRename.

        Raises `InvalidParameter` for a name that can never be, `NotFound` where there is no such
        container, and `Conflict` where another one has the name.
        """
        request = await job.request(RenameRequest)
        if not request.name:
            raise InvalidParameter("Neither old nor new names may be empty")
        container = self._registry.get(request.container)
        async with container.lock:
            if container not in self._ledger:
                raise NotFound(f"No such container: {request.container}")
            await self._ledger.rename(container, self._new_name(container, request.name))

    def _new_name(self, container: Container, wanted: str) -> str:
        """Return the name that `wanted` is, reserved; raise what dockerd says of a wrong one."""
        wanted = wanted.removeprefix("/")
        if wanted == container.name:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        try:
            name = check_name(f"/{wanted}")
            self._registry.reserve(name, container.id)
        except (Conflict, InvalidParameter) as refused:
            message = f"Error when allocating new name: {refused.message}"
            raise type(refused)(message) from None
        return name

    async def delete(self, job: Job) -> None:
        """Answer ContainerDelete."""
        request = await job.request(DeleteRequest)
        if request.link:
            await self._remove_link(request.container)
            return
        container = self._registry.get(request.container)
        await self._control.remove(container, force=request.force, volumes=request.volumes)

    async def _remove_link(self, name: str) -> None:
        """Remove a link, whose name is its container's and its alias, as in ``/web/db``."""
        parent, _, alias = name.strip("/").rpartition("/")
        if not parent:
            self._registry.get(alias)
            raise EngineError("Conflict, cannot remove the default link name of the container")
        try:
            container = self._registry.get(parent)
        except NotFound:
            raise NotFound(f"No such container: {name.strip('/')}") from None
        async with container.lock:
            left = without(container.host_config, alias)
            if left is container.host_config:
                raise NotFound(f"No such container: {name.strip('/')}")
            await self._ledger.configure(container, left)

    async def wait(self, job: Job) -> Answer:
        """Answer ContainerWait: its head at once, the exit code when there is one."""
        request = await job.request(WaitRequest)
        container = self._registry.get(request.container)
        state = container.state
        if request.condition == "removed":
            waiting = container.removal()
        elif request.condition == "next-exit" or state.active:
            waiting = container.next_exit()
        else:
            return Encoded(_exit(Exit(state.exit_code, state.error)))

        async def serve(sink: Sink) -> None:
            await sink.write(_exit(await waiting))

        return Stream(serve)

    async def list(self, job: Job) -> Answer:
        """Answer ContainerList, from memory."""
        return Encoded(await self._listing.encoded(await job.request(ListRequest)))

    async def inspect(self, job: Job) -> Answer:
        """Answer ContainerInspect."""
        request = await job.request(InspectRequest)
        container = self._registry.get(request.container)
        return Encoded(
            await self._inspection.encoded(container, request.version, size=request.size)
        )

    async def top(self, job: Job) -> Answer:
        """Answer ContainerTop."""
        request = await job.request(TopRequest)
        container = self._registry.get(request.container)
        check(Operation.INSIDE, container, request.container)
        cgroup = cgroup_path(container.id, container.host_config)
        with self._ledger.telling_removal(container):
            answer = await top(cgroup, container.state.pid, request.arguments)
        self._ledger.publish(container, "top")
        return answer

    async def prune(self, job: Job) -> Answer:
        """Answer ContainerPrune: remove what does not run."""
        request = await job.request(PruneRequest)
        until = [parse_until(text) for text in request.filters.get("until")]
        deleted, reclaimed = [], 0
        for container in self._registry:
            labels = container.config.labels or {}
            if (
                container.state.status not in (Status.CREATED, Status.EXITED)
                or not request.filters.labelled(labels)
                or any(container.created_at > limit for limit in until)
            ):
                continue
            (size,) = await self._sizes.of([container])
            try:
                await self._control.remove(container, force=False)
            except EngineError:
                # It was started, or removed, meanwhile.
                continue
            deleted.append(container.id)
            reclaimed += size.written
        self._ledger.publish_prune(reclaimed)
        return {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed}


def _exit(end: Exit) -> bytes:
    document: dict[str, object] = {"StatusCode": end.code}
    if end.error:
        document["Error"] = {"Message": end.error}
    return msgspec.json.encode(document) + b"\n"
