"""The one place that commits what changes in containers, and tells of it.

Rule: a change is in the database before it can be read, and can be read before its event is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dockerapi.engine.errors import Conflict, EngineError, NotFound
from dockerapi.engine.events import Event, EventBus
from dockerapi.local.containers import records
from dockerapi.local.containers.container import Container, State
from dockerapi.local.containers.registry import Registry
from dockerapi.local.journal import Journal
from dockerapi.model.containers import HostConfig


class Ledger:
    """Containers in the database, in the registry, and on the bus.

    :ivar changed: to be called when something changed that lists of containers show.
    """

    def __init__(
        self,
        journal: Journal,
        registry: Registry,
        events: EventBus,
        changed: Callable[[], None],
    ) -> None:
        self.changed = changed
        self._journal = journal
        self._registry = registry
        self._events = events

    async def insert(self, container: Container) -> None:
        """Make a container known, whose name is reserved."""

        def apply() -> None:
            self._registry.add(container)
            self.changed()

        await self._journal.commit(
            lambda connection: records.insert(connection, container),
            [event(container, "create")],
            apply,
        )

    async def save(self, container: Container, state: State, *events: Event) -> None:
        """Give a container the state `state`, then tell `events` of it."""

        def apply() -> None:
            container.state = state
            self.changed()

        await self._journal.commit(
            lambda connection: records.update_state(connection, container.id, state),
            events,
            apply,
            essential=True,
        )

    def accept(self, container: Container, state: State, *events: Event) -> None:
        """Give a container a state that could not be committed; for what has happened anyway."""
        container.state = state
        self.changed()
        for one in events:
            self._events.publish(one)

    def __contains__(self, container: Container) -> bool:
        return container.id in self._registry

    @contextmanager
    def telling_removal(self, container: Container) -> Iterator[None]:
        """Raise what a later client is told where the block fails since `container` is removed.

        That is `NotFound`, or `Conflict` while its removal is under way.
        """
        try:
            yield
        except (EngineError, OSError) as error:
            if container not in self:
                raise NotFound(f"No such container: {container.id}") from error
            if container.removing:
                raise Conflict(f"container {container.id} is marked for removal") from error
            raise

    async def rename(self, container: Container, name: str) -> None:
        """Give a container the reserved name `name`; its old one is free then."""
        old = container.name
        attributes = container.event_attributes(oldName=f"/{old}") | {"name": name}

        def apply() -> None:
            container.name = name
            self._registry.release(old, container.id)
            self.changed()

        try:
            await self._journal.commit(
                lambda connection: records.rename(connection, container.id, name),
                [Event("container", "rename", container.id, attributes)],
                apply,
            )
        except BaseException:
            self._registry.release(name, container.id)
            raise

    async def configure(self, container: Container, host: HostConfig) -> None:
        """Give a container another host configuration."""

        def apply() -> None:
            container.host_config = host
            self.changed()

        await self._journal.commit(
            lambda connection: records.configure(connection, container.id, host),
            [event(container, "update")],
            apply,
        )

    async def replace(self, container: Container, draft: Container) -> None:
        """Give a container the configuration and the mounts of `draft`."""

        def apply() -> None:
            container.config, container.host_config = draft.config, draft.host_config
            container.mounts = draft.mounts
            self.changed()

        await self._journal.commit(lambda connection: records.replace(connection, draft), [], apply)

    async def forget(self, container: Container, *events: Event) -> None:
        """Remove a container, whose name is free then, and tell `events` of it."""

        def apply() -> None:
            self._registry.remove(container)
            self.changed()

        container.removing = True
        try:
            await self._journal.commit(
                lambda connection: records.delete(connection, container.id),
                events,
                apply,
                essential=True,
            )
        except BaseException:
            container.removing = False
            raise

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        """Tell of what changed nothing."""
        self._events.publish(event(container, action, **attributes))

    def publish_prune(self, reclaimed: int) -> None:
        """Tell of a prune that freed `reclaimed` bytes."""
        self._events.publish(Event("container", "prune", "", {"reclaimed": str(reclaimed)}))


def event(container: Container, action: str, **attributes: str) -> Event:
    """Return the event `action` of `container`, as it is now."""
    return Event("container", action, container.id, container.event_attributes(**attributes))
