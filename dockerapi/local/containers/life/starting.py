"""The way from a container's specification to its process.

Rule: what a start makes it makes in the order in which `Cleaner` takes it away again; a start that
fails leaves that to its caller.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs
from twisted.internet.defer import Deferred

from dockerapi.local.containers.cdi.edits import give_devices
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.creation.endpoints import check_start, link_local
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.links import followers, linked, links_of, running_links
from dockerapi.local.containers.mounts.volumes import VolumeMounts
from dockerapi.local.containers.needs import Networks
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.conmon import Monitored, RuntimeFailed, Watch, launch
from dockerapi.local.containers.runtime.joining import join_names, joined_container, owner_of_files
from dockerapi.local.containers.runtime.namespaces import Joined, join
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.rootfs import Host, prepare, update_hosts
from dockerapi.local.containers.runtime.runtime import Runtime, start_error
from dockerapi.local.containers.runtime.spec import runtime_spec
from dockerapi.local.containers.runtime.tools import Toolbox, Tools
from dockerapi.local.containers.security.filters import ANNOTATION, compiled
from dockerapi.local.containers.security.options import SecurityOptions
from dockerapi.local.host.pidfd import open_process, start_time_of
from dockerapi.local.host.threads import in_thread
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.ports import requested_ports


class Started(msgspec.Struct, frozen=True):
    """A process that was let go.

    :ivar pidfd: its descriptor, the holder's to close.
    :ivar start_time: with `pid` its name, in clock ticks since boot.
    :ivar conmon: fires at the end of its monitor.
    """

    pid: int
    start_time: int
    pidfd: int
    conmon: Deferred[None]
    watch: Watch


class Starter:
    """Starts the processes of containers, and tells `observer` before each is let go."""

    def __init__(
        self,
        toolbox: Toolbox,
        places: Places,
        networks: Networks,
        volumes: VolumeMounts,
        registry: Registry,
        observer: Observer,
    ) -> None:
        self._toolbox = toolbox
        self._places = places
        self._networks = networks
        self._volumes = volumes
        self._registry = registry
        self._observer = observer

    async def start(self, container: Container) -> Started:
        """Start the process of `container`, whose lock is held, and return it.

        Raises in the runtime's words what the runtime refused, and what `prepare` raises.
        """
        tools = self._toolbox.require()
        self._toolbox.grace.begin()
        watch = self._places.watch(container)
        runtime = await tools.runtimes.get(container.host_config.runtime)
        monitored = await self._make(container, tools, runtime, watch)
        pidfd = open_process(monitored.pid)
        try:
            start_time = start_time_of(monitored.pid) or 0
            self._observer.before_start(container, watch)
            await runtime.start(container.id, pidfd)
        except BaseException:
            os.close(pidfd)
            raise
        conmon = Deferred.fromCoroutine(monitored.conmon.wait()).addCallback(lambda _: None)
        return Started(monitored.pid, start_time, pidfd, conmon, watch)

    async def _make(
        self, container: Container, tools: Tools, runtime: Runtime, watch: Watch
    ) -> Monitored:
        """Make the process, which waits to be let go."""
        links = running_links(container, self._registry)
        container.linked = linked(container, links)
        sandbox = await self._join(container) or await self._connect(container)
        await self._tell_followers(container)
        layers = await self._places.layers(container)
        await self._volumes.attach(container)
        joined = join(container, self._registry, lambda one: self._places.directories(one).shm)
        with ExitStack() as stack:
            joined = structs.replace(
                joined, pid=_by_descriptor(stack, joined.pid), ipc=_by_descriptor(stack, joined.ipc)
            )
            namespace = _by_descriptor(stack, sandbox.path)
            await in_thread(
                self._write_bundle,
                container,
                layers,
                sandbox,
                namespace,
                joined,
                tools.host,
                runtime,
            )
            try:
                monitored = await launch(watch, tools.conmon, runtime)
            except RuntimeFailed as failed:
                raise start_error(failed.message) from failed
        await self._volumes.taken_over(container)
        return monitored

    async def _connect(self, container: Container) -> Sandbox:
        """Give the container a sandbox of its own."""
        config, host = container.config, container.host_config
        mode = "none" if config.network_disabled else host.network_mode
        if not config.network_disabled:
            check_start(mode, container.endpoints, self._networks.find)
        container.sandbox = await self._networks.connect(
            container.id,
            mode,
            name=container.name,
            hostname=config.hostname,
            ports=requested_ports(
                config.exposed_ports or (), host.port_bindings, host.publish_all_ports
            ),
            mac=config.mac_address.lower().replace("-", ":"),
            link_local=link_local(container.endpoints),
        )
        container.network_id = container.sandbox.endpoints[0].network_id
        return container.sandbox

    async def _tell_followers(self, container: Container) -> None:
        """Tell the containers with links to this one, which may have another address by now."""
        for other in followers(container, self._registry):
            other.linked = linked(other, links_of(other, self._registry))
            await in_thread(update_hosts, other, self._places.layout)

    async def _join(self, container: Container) -> Sandbox | None:
        """Return the sandbox of the container that this one is to join; None for none."""
        other = joined_container(container, self._registry)
        if other is None:
            return None
        sandbox = self._networks.share(other.id)
        # Without one it joined another itself, whose namespace may have outlived that other.
        path = Path(f"/proc/{other.state.pid}/ns/net") if sandbox is None else sandbox.path
        join_names(container, other)
        return Sandbox("", owner_of_files(other, self._registry).id, path)

    def _write_bundle(
        self,
        container: Container,
        layers: Sequence[Path],
        sandbox: Sandbox,
        namespace: Path | None,
        joined: Joined,
        host: Host,
        runtime: Runtime,
    ) -> None:
        """Mount the root and write the runtime's configuration; blocks."""
        root = prepare(container, layers, self._places.layout, sandbox, namespace, joined, host)
        spec = runtime_spec(container, root)
        give_devices(spec, container.host_config.device_requests or ())
        profile = spec["linux"].get("seccomp")
        options = SecurityOptions.parse(container.host_config.security_opt or ())
        builtin = profile is not None and not options.seccomp_profile
        if builtin and runtime.takes_filters:
            _add_filter(spec, profile)
        document = msgspec.json.encode(spec)
        (self._places.directories(container).run / "config.json").write_bytes(document)


def _add_filter(spec: dict[str, Any], profile: dict[str, Any]) -> None:
    """Add the compiled form of `profile` to a container's configuration."""
    filter_program = compiled(profile)
    if filter_program is not None:
        spec["annotations"][ANNOTATION] = filter_program
        # Without its long list, which would be read twice: who does not know the annotation
        # refuses every call.
        spec["linux"]["seccomp"] = {**profile, "syscalls": []}


def _by_descriptor(stack: ExitStack, path: Path | None) -> Path | None:
    """Return a name of the file `path` that holds in every mount namespace, while `stack` does."""
    if path is None:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")
