"""The embedded engine: its parts, put together in the order in which they need each other.

Rule: a part is started after those it stands on and stopped before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local import absent
from dockerapi.local.containers.archive.committing import Commits
from dockerapi.local.containers.container import STOPPED, Status
from dockerapi.local.containers.execs.operations import Execs
from dockerapi.local.containers.foundation import Foundation
from dockerapi.local.containers.health.monitor import HealthMonitor
from dockerapi.local.containers.health.probe import ExecProbe
from dockerapi.local.containers.imageusers import ImageUsers
from dockerapi.local.containers.logs.operation import ContainerLogs
from dockerapi.local.containers.logs.options import check_options
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.rootfs import Dns
from dockerapi.local.containers.service import Containers, ContainerSettings
from dockerapi.local.containers.streams.attach import Attachments
from dockerapi.local.datausage import DataUsage
from dockerapi.local.event_stream import EventStreams
from dockerapi.local.host.probe import filesystem_of
from dockerapi.local.host.threads import in_thread
from dockerapi.local.images.service import Images
from dockerapi.local.journal import Journal
from dockerapi.local.layout import Layout
from dockerapi.local.networks.bridge import NetworkSettings
from dockerapi.local.networks.service import Networks
from dockerapi.local.ownership import Ownership
from dockerapi.local.store import Store
from dockerapi.local.system import Counts, System, SystemSettings
from dockerapi.local.volumes.service import Volumes
from dockerapi.model.containers import LogConfig
from dockerapi.model.defaults import ContainerDefaults

_DEFAULT_ROOT = "/var/lib/dockerapi"


class LocalSettings(msgspec.Struct, frozen=True):
    """What of the settings the embedded engine needs; see docs/configuration.md."""

    data_root: str = _DEFAULT_ROOT
    exec_root: str = "/run/dockerapi"
    default_runtime: str = ""
    runtimes: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    bip: str = ""
    log_driver: str = "json-file"
    log_opts: tuple[str, ...] = ()
    default_ulimits: tuple[str, ...] = ()
    default_shm_size: str = "64M"
    default_ipc_mode: str = "private"
    init: bool = False
    dns: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    events_history: int = 10_000
    debug: bool = False

    @property
    def runtime_programs(self) -> Mapping[str, str]:
        """The further runtimes: programs by name."""
        return {name: path for name, _, path in (one.partition("=") for one in self.runtimes)}

    @property
    def defaults(self) -> ContainerDefaults:
        """What containers have that do not say otherwise."""
        return ContainerDefaults.parse(
            self.default_ulimits, self.default_shm_size, self.default_ipc_mode, init=self.init
        )

    @property
    def log(self) -> LogConfig:
        """The log driver of containers that choose none, and its options."""
        pairs = (option.partition("=") for option in self.log_opts)
        return LogConfig(self.log_driver, {name: value for name, _, value in pairs})


def bridge_name(data_root: str) -> str:
    """Return the name of the default bridge: servers with roots of their own do not share one."""
    if data_root == _DEFAULT_ROOT:
        return "dockerapi0"
    return f"da-{hashlib.sha256(data_root.encode()).hexdigest()[:10]}"


class LocalBackend:
    """Runs containers on this host; see `dockerapi.engine.backend.Backend`.

    Nothing is opened before `start`.
    """

    def __init__(self, settings: LocalSettings, engine: Engine, reactor: Any) -> None:
        self._settings = settings
        self._engine = engine
        self._reactor = reactor
        self._layout = Layout(settings.data_root, settings.exec_root)
        self._ownership = Ownership(self._layout.root, self._layout.run)
        self._started = AsyncExitStack()
        self._store = Store(self._layout.database)
        self._journal = Journal(self._store, engine.events, settings.events_history, reactor)
        registry = Registry()
        self._images = Images(
            self._store,
            self._layout,
            engine.events,
            ImageUsers(registry),
            insecure_registries=settings.insecure_registries,
            registry_mirrors=settings.registry_mirrors,
        )
        self._volumes = Volumes(self._store, self._journal, self._layout, engine)
        self._networks = Networks(
            self._store,
            self._layout,
            engine,
            NetworkSettings(bridge=bridge_name(settings.data_root), bip=settings.bip),
            reactor,
        )
        self._foundation = Foundation(
            registry, self._images, self._layout, self._journal, engine.events
        )
        self._make_streams(engine)
        self.containers = self._make_containers()
        self._commits = Commits(
            registry,
            self._foundation.places,
            self._foundation.ledger,
            self.containers.control,
            self._images,
        )
        self._usage = DataUsage(
            self._images.catalogue.index,
            registry,
            self._foundation.listing,
            self._volumes.catalogue,
        )
        self._events = EventStreams(engine.events, self._journal.history, reactor)
        self._system = self._make_system(engine)

    def _make_streams(self, engine: Engine) -> None:
        """Make what reads from containers and runs processes in them."""
        registry, places = self._foundation.registry, self._foundation.places
        reactor = self._reactor
        self._logs = ContainerLogs(registry, lambda one: places.directories(one).log, reactor)
        self._attachments = Attachments(registry, engine.events, reactor, places.watch, self._logs)
        self._execs = Execs(
            registry, places, self._foundation.toolbox, engine.events, reactor, reactor
        )
        probe = ExecProbe(self._execs, reactor)
        self._health = HealthMonitor(self._foundation.ledger, probe, reactor)

    def _make_containers(self) -> Containers:
        settings = self._settings
        return Containers(
            self._foundation,
            self._store,
            self._networks,
            self._volumes,
            ContainerSettings(
                default_runtime=settings.default_runtime,
                runtimes=settings.runtime_programs,
                dns=Dns(settings.dns, settings.dns_search, settings.dns_opts),
                log=settings.log,
                defaults=settings.defaults,
            ),
            self._reactor,
            observers=(self._execs, self._logs, self._attachments, self._health),
        )

    def _make_system(self, engine: Engine) -> System:
        settings = SystemSettings(
            data_root=self._settings.data_root,
            debug=self._settings.debug,
            log_driver=self._settings.log_driver,
            labels=self._settings.labels,
            insecure_registries=self._settings.insecure_registries,
            registry_mirrors=self._settings.registry_mirrors,
            runtimes=self._settings.runtime_programs,
        )
        return System(
            engine,
            settings,
            self._count,
            lambda: self.containers.runtime,
            lambda: [*self.containers.problems, *self._networks.problems],
        )

    def register(self, engine: Engine) -> None:
        """Register every operation that this engine can do."""
        self._images.register(engine)
        self._networks.register(engine)
        self._volumes.register(engine)
        self.containers.register(engine)
        self._commits.register(engine)
        self._attachments.register(engine)
        self._logs.register(engine)
        self._execs.register(engine)
        engine.register("SystemEvents", self._events.events, follows=True)
        self._system.register(engine)
        self._usage.register(engine)
        absent.register(engine)

    async def start(self) -> None:
        """Open the state, then take up what an earlier server left.

        Raises `EngineError`, which says what to do, where the state cannot be used.
        """
        try:
            check_options(self._settings.log)
        except InvalidParameter as error:
            raise EngineError(f"failed to set log opts: {error.message}") from error
        try:
            self._layout.make()
            self._ownership.take()
        except OSError as error:
            raise EngineError(
                f"the data root {self._settings.data_root} cannot be used: {error}; "
                "run as root, or choose others with --data-root and --exec-root"
            ) from error
        started = self._started
        started.callback(self._ownership.release)
        await self._check_file_system()
        started.push_async_callback(self._store.close)
        self._store.start()
        await self._journal.start()
        started.push_async_callback(self._journal.stop)
        await self._system.start()
        for part in (self._images, self._volumes, self._networks):
            # Before it is started: a start that fails half-way leaves something, too.
            started.push_async_callback(part.stop)
            await part.start()
        started.push_async_callback(self.containers.stop)
        for stop in (self._execs.stop, self._logs.stop, self._attachments.stop, self._health.stop):
            started.callback(stop)
        await self.containers.start()
        for container in self.containers.registry:
            self._logs.take_up(container, self.containers.places.watch(container))

    async def _check_file_system(self) -> None:
        """Raise `EngineError` where no container could have a layer of its own.

        The kernel takes no upper directory on another overlay, as the root of a container is.
        """
        if await in_thread(filesystem_of, self._layout.root) == "overlay":
            raise EngineError(
                f"no container can be kept in the data root {self._settings.data_root}, which is "
                "on an overlay itself; choose another with --data-root (in a container: a volume)"
            )

    async def stop_all(self) -> None:
        """See `dockerapi.engine.backend.StopsContainers.stop_all`."""
        await self.containers.stop_all()

    async def stop(self) -> None:
        """Let go of what belongs to this process; containers run on.

        All parts are stopped, also after one that fails; its error is raised then.
        """
        await self._started.aclose()

    def _count(self) -> Counts:
        count = self.containers.count
        return Counts(
            running=count(Status.RUNNING),
            paused=count(Status.PAUSED),
            stopped=count(*STOPPED),
            images=len(self._images),
        )
