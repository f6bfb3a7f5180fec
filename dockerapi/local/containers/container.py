"""A container as the engine knows it: what was asked for, and the state it is in.

Rule: whatever changes a container holds its lock; whoever only reads needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import attrs
import msgspec
from twisted.internet.defer import Deferred, DeferredLock

from dockerapi.local.containers.mounts.point import MountPoint
from dockerapi.model.containers import ContainerConfig, EndpointSettings, HostConfig

if TYPE_CHECKING:
    from dockerapi.local.containers.health.health import Health
    from dockerapi.local.networks.sandbox import Sandbox


class Status(StrEnum):
    """The states of the specification's `ContainerState.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


#: What ``/info`` counts as stopped.
STOPPED = (Status.CREATED, Status.RESTARTING, Status.REMOVING, Status.EXITED, Status.DEAD)


class State(msgspec.Struct, frozen=True):
    """What changes in a container's life; times in nanoseconds since 1970, 0 for never.

    :ivar pid: the first process, 0 while none runs.
    :ivar start_time: when that process started, in clock ticks since boot: with `pid` its name.
    :ivar error: why the last start failed.
    :ivar restarts: how often its policy has started it again since a client did.
    :ivar by_hand: whether a client stopped or signalled it since then.
    """

    status: Status = Status.CREATED
    pid: int = 0
    start_time: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    restarts: int = 0
    by_hand: bool = False

    @property
    def running(self) -> bool:
        """Whether its process runs (a paused one does; one that is to start again does not)."""
        return self.status in (Status.RUNNING, Status.PAUSED)

    @property
    def active(self) -> bool:
        """What the API calls running: its process runs, or is to start again soon."""
        return self.running or self.status is Status.RESTARTING


class Exit(msgspec.Struct, frozen=True):
    """How a container ended: its exit code, and what went wrong where it never ran."""

    code: int
    error: str = ""


class Linked(msgspec.Struct, frozen=True):
    """What a container that runs was told of its links.

    :ivar hosts: addresses and names for /etc/hosts.
    :ivar variables: entries of its environment, and of that of its execs.
    """

    hosts: tuple[tuple[str, str], ...] = ()
    variables: tuple[str, ...] = ()


@attrs.define(eq=False)
class Container:
    """One container.

    :ivar id: 64 hexadecimal digits.
    :ivar name: without the slash that the API writes before it.
    :ivar created_at: nanoseconds since 1970.
    :ivar owner: who made it, as the log writes a principal.
    :ivar image: the id of its image (``sha256:...``).
    :ivar body: the body of its ContainerCreate, as received.
    :ivar endpoints: what the body wants of networks, by their names.
    :ivar config: the body's container part, merged with its image's.
    :ivar host_config: the body's `HostConfig`.
    :ivar sandbox: its network namespace and endpoints while it runs.
    :ivar lock: held by whatever changes it.
    :ivar exec_ids: the execs that live in it.
    :ivar health: what is known of its health; None where it is not checked.
    :ivar linked: what it was told of the containers that it has links to.
    :ivar network_id: the id of its network, from its first start on.
    :ivar removing: whether its removal is under way: nobody else may begin one, or start it.
    :ivar being_restarted: how many restart it: then it is not removed for its end.
    :ivar being_killed: how many wait for its end by SIGKILL: then it is not frozen.
    :ivar untold_stops: how many stop it, and tell of that when it has ended.
    :ivar being_frozen: whether it is being paused just now.
    :ivar mounts: what it has mounted, parents first.
    :ivar staged: the same as the runtime binds it from the host, while it starts.
    :ivar root_uses: counts beginnings and ends of reading and writing its root from outside.
    :ivar made_volumes: the volumes that were made for it, while it is made itself.
    :ivar takes_volumes: whether its removal takes its anonymous volumes along.
    """

    id: str
    name: str
    created_at: int
    owner: str
    image: str
    body: bytes
    config: ContainerConfig
    host_config: HostConfig
    endpoints: Mapping[str, EndpointSettings] = attrs.field(factory=dict)
    state: State = attrs.field(factory=State)
    sandbox: Sandbox | None = None
    lock: DeferredLock = attrs.field(factory=DeferredLock)
    exec_ids: list[str] = attrs.field(factory=list)
    health: Health | None = None
    linked: Linked = attrs.field(factory=Linked)
    network_id: str = ""
    removing: bool = False
    being_restarted: int = 0
    being_killed: int = 0
    untold_stops: int = 0
    being_frozen: bool = False
    mounts: tuple[MountPoint, ...] = ()
    staged: tuple[MountPoint, ...] = ()
    root_uses: int = 0
    made_volumes: list[str] = attrs.field(factory=list)
    takes_volumes: bool = False
    _next_exit: list[Deferred[Exit]] = attrs.field(factory=list)
    _removal: list[Deferred[Exit]] = attrs.field(factory=list)

    @property
    def status(self) -> Status:
        """What the API tells: a container that no longer runs and is being removed says that."""
        return self.state.status if self.state.active or not self.removing else Status.REMOVING

    @property
    def mounted_images(self) -> list[str]:
        """The ids of the images among its mounts."""
        return [point.image for point in self.mounts if point.image]

    @property
    def path(self) -> str:
        """The program that it runs."""
        return self.config.words()[0]

    @property
    def arguments(self) -> list[str]:
        """What follows the program."""
        return self.config.words()[1:]

    def event_attributes(self, **more: str) -> dict[str, str]:
        """Return the attributes of this container's events: labels, image, name and `more`."""
        return {**(self.config.labels or {}), "image": self.config.image, "name": self.name, **more}

    def next_exit(self) -> Deferred[Exit]:
        """Return a Deferred that fires when the container next ends (or never starts)."""
        return _waiter(self._next_exit)

    def removal(self) -> Deferred[Exit]:
        """Return a Deferred that fires when the container has been removed."""
        return _waiter(self._removal)

    def tell_exit(self, exit: Exit) -> None:
        """Tell those who wait for its end."""
        waiters, self._next_exit = self._next_exit, []
        _tell(waiters, exit)

    def tell_removal(self, exit: Exit) -> None:
        """Tell those who wait for its removal, and those who wait for an end that cannot come."""
        waiters = self._removal + self._next_exit
        self._removal, self._next_exit = [], []
        _tell(waiters, exit)


def _waiter(waiters: list[Deferred[Exit]]) -> Deferred[Exit]:
    def forget(waiter: Deferred[Exit]) -> None:
        if waiter in waiters:
            waiters.remove(waiter)

    waiter: Deferred[Exit] = Deferred(forget)
    waiters.append(waiter)
    return waiter


def _tell(waiters: list[Deferred[Exit]], exit: Exit) -> None:
    for waiter in waiters:
        # Who was told before may have made another one give up.
        if not waiter.called:
            waiter.callback(exit)
