"""Containers of the embedded engine: the service that the other parts see.

Rule: it puts the parts together and owns their start and stop; the operations are those of its
parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError, NotModified
from dockerapi.local.containers.archive.operations import ArchiveOperations
from dockerapi.local.containers.archive.roots import Roots
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.foundation import Foundation
from dockerapi.local.containers.life.cleaning import Cleaner
from dockerapi.local.containers.life.control import Control
from dockerapi.local.containers.life.lifecycle import Lifecycle
from dockerapi.local.containers.life.observers import Observer, Observers
from dockerapi.local.containers.life.order import Order
from dockerapi.local.containers.life.reconcile import Reconciliation
from dockerapi.local.containers.life.starting import Starter
from dockerapi.local.containers.life.updates import Updates
from dockerapi.local.containers.links import linked, links_of
from dockerapi.local.containers.mounts.volumes import VolumeMounts
from dockerapi.local.containers.needs import Networks, Volumes
from dockerapi.local.containers.operations import Operations
from dockerapi.local.containers.runtime.probe import find_init
from dockerapi.local.containers.runtime.resources import cgroup_support
from dockerapi.local.containers.runtime.rootfs import Dns, Host
from dockerapi.local.containers.runtime.runtimes import Runtimes
from dockerapi.local.containers.runtime.tools import Tools
from dockerapi.local.containers.security import apparmor
from dockerapi.local.containers.stats.operation import Stats
from dockerapi.local.host.cgrouproot import INIT, pass_controllers_on
from dockerapi.local.host.mountns import stop_sharing
from dockerapi.local.host.spawn import find_program
from dockerapi.local.host.threads import in_thread
from dockerapi.local.store import Store
from dockerapi.model.containers import LogConfig
from dockerapi.model.defaults import ContainerDefaults


class ContainerSettings(msgspec.Struct, frozen=True):
    """What of the settings containers need.

    :ivar default_runtime: a runtime's name or path; empty for the first that works.
    :ivar runtimes: further runtimes, programs by name.
    :ivar init_path: the program for `Init`; empty for the one that is installed.
    :ivar dns: what containers have in resolv.conf that say nothing about it.
    :ivar log: the log driver of those that choose none, and its options; `defaults` what else
        containers have that say nothing.
    """

    default_runtime: str = ""
    runtimes: Mapping[str, str] = msgspec.field(default_factory=dict)
    init_path: str = ""
    dns: Dns = msgspec.field(default_factory=Dns)
    log: LogConfig = msgspec.field(default_factory=LogConfig)
    defaults: ContainerDefaults = msgspec.field(default_factory=ContainerDefaults)


class Containers:
    """The containers service.

    :ivar registry, ledger, places, toolbox: see `Foundation`.
    :ivar roots: mounts and reaches their roots.
    :ivar starter: makes their processes.
    :ivar lifecycle: starts and ends them.
    :ivar control: signals, freezes and removes them.
    :ivar problems: why containers cannot be run here; for `Warnings` of ``/info``.
    """

    log = Logger()

    def __init__(
        self,
        foundation: Foundation,
        store: Store,
        networks: Networks,
        volumes: Volumes,
        settings: ContainerSettings,
        reactor: IReactorTime,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Run the containers of `foundation`; `observers` are told of their starts and ends."""
        self.problems: list[str] = []
        self.registry = foundation.registry
        self.places = foundation.places
        self.toolbox = foundation.toolbox
        self.ledger = foundation.ledger
        observer = Observers(observers)
        self._volumes = mounts = VolumeMounts(volumes, self.registry, self.places)
        self.starter = Starter(self.toolbox, self.places, networks, mounts, self.registry, observer)
        self.roots = Roots(self.places, volumes)
        cleaner = Cleaner(self.toolbox, self.places, networks, mounts, self.roots.in_use)
        order = Order(self.registry, reactor)
        self.lifecycle = Lifecycle(self.ledger, self.starter, cleaner, order, observer, reactor)
        self.control = Control(self.lifecycle, self.ledger, self.toolbox, reactor)
        self._operations = Operations(
            foundation,
            self.lifecycle,
            self.control,
            networks,
            mounts,
            settings.log,
            settings.defaults,
        )
        self._stats = Stats(self.registry, reactor)
        self._updates = Updates(self.registry, self.ledger, self.toolbox)
        self._archives = ArchiveOperations(self.registry, self.places, self.ledger, self.roots)
        self._store = store
        self._layout = foundation.places.layout
        self._networks = networks
        self._settings = settings
        self._runtimes: Runtimes | None = None

    def register(self, engine: Engine) -> None:
        """Register the handlers of a container's life."""
        self._operations.register(engine)
        self._stats.register(engine)
        self._updates.register(engine)
        self._archives.register(engine)

    async def start(self) -> None:
        """Find the tools, then take up again what an earlier server left.

        What is missing is no error here but noted in `problems`; starting a container says it.
        """
        if moved := await in_thread(pass_controllers_on):
            self.log.info(
                "moved {n} processes out of the way of limits: cgroup {to}", n=moved, to=INIT
            )
        try:
            conmon = find_program("conmon")
            runtimes = Runtimes(self._layout, conmon, self._settings.runtimes)
            self._runtimes = runtimes
            await runtimes.start(self._settings.default_runtime)
            host = Host(
                find_init(self._settings.init_path),
                cgroup_support().unified,
                self._settings.dns,
                self._settings.defaults,
            )
            self.toolbox.tools = Tools(runtimes, conmon, host)
        except EngineError as error:
            self.problems.append(error.message)
            self.toolbox.missing = error.message
            self.log.warn("containers cannot be run: {reason}", reason=error.message)
        if problem := await apparmor.load():
            self.problems.append(problem)
        reconciliation = Reconciliation(
            self._store,
            self.registry,
            self.ledger,
            self.places,
            self.toolbox,
            self.lifecycle,
            self._networks,
            self._volumes,
        )
        await reconciliation.run()
        for container in self.registry:
            container.linked = linked(container, links_of(container, self.registry))
            if container.state.started_at:
                network = self._networks.find(container.host_config.network_mode)
                container.network_id = network.id if network is not None else ""
        await self.lifecycle.resume(tuple(self.registry))

    async def stop(self) -> None:
        """Let go of containers, which run on."""
        await self.lifecycle.stop()
        if self._runtimes is not None:
            self._runtimes.close()
            self._runtimes = None
        self.toolbox.grace.close()
        # An earlier server may have shared it for another runtime's sake.
        stop_sharing(self._layout.containers)

    async def stop_all(self) -> None:
        """Stop every container that runs, all at once (``--stop-containers``).

        What cannot be stopped is logged; what its policy wants runs again at the next start.
        """
        self.lifecycle.close()
        stopping = [
            Deferred.fromCoroutine(self.control.stop(one, by_hand=False)).addErrback(
                self._not_stopped, one
            )
            for one in self.registry
            if one.state.running
        ]
        await DeferredList(stopping)

    def _not_stopped(self, failure: Failure, container: Container) -> None:
        # It may have ended by itself meanwhile.
        if not failure.check(NotModified):
            self.log.failure("cannot stop {id}", id=container.id, failure=failure)

    @property
    def runtime(self) -> str:
        """The name of the default runtime; empty without one."""
        runtimes = self._runtimes
        return runtimes.default.name if runtimes is not None and runtimes.default else ""

    def count(self, *states: Status) -> int:
        """Return how many containers are in one of `states`."""
        return sum(one.state.status in states for one in self.registry)
