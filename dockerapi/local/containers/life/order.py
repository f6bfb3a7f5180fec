"""In which order containers start again: those that others need go first.

Source: dockerd's restore, where containers wait for those that they have links to.
Rule: what is waited for too long, or for ever since it needs the one that waits, is not waited for.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.links import links_of
from dockerapi.local.containers.registry import Registry

#: How long a container waits for one that it needs, in seconds; on a machine that has much to start
#: dockerd's 5 may be too few.
PATIENCE = 30.0
_JOINS = "container:"


class Order:
    """Lets containers wait for others that are about to start again."""

    def __init__(self, registry: Registry, clock: IReactorTime) -> None:
        self._registry = registry
        self._clock = clock
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._closed = False

    async def wait(self, container: Container) -> None:
        """Return when nothing that `container` needs is about to start."""
        for other in _needed(container, self._registry):
            if other.state.status is Status.RESTARTING and not self._closed:
                waiter: Deferred[None] = Deferred(lambda _: None)
                self._waiting.setdefault(other.id, []).append(waiter)
                waiter.addTimeout(PATIENCE, self._clock, onTimeoutCancel=lambda _, __: None)
                await waiter

    def tell(self, container: Container) -> None:
        """Let go on who waits for `container`, which has started, or will not."""
        for waiter in self._waiting.pop(container.id, ()):
            if not waiter.called:
                waiter.callback(None)

    def close(self) -> None:
        """Let all go on, and nobody wait any more."""
        self._closed = True
        for waiters in [*self._waiting.values()]:
            for waiter in waiters:
                if not waiter.called:
                    waiter.callback(None)
        self._waiting.clear()


def _needed(container: Container, registry: Registry) -> Iterator[Container]:
    """Give the containers that must run for `container` to start."""
    yield from (link.target for link in links_of(container, registry))
    host = container.host_config
    for mode in (host.network_mode, host.ipc_mode, host.pid_mode):
        identity = mode.removeprefix(_JOINS)
        if mode.startswith(_JOINS) and identity in registry:
            yield registry.get(identity)
