"""The volumes that there are, and which containers have them.

Rule: a container has a volume before work on it begins, so that nobody removes it in between; a
volume is in the database before it is used, and its files outlive its row, never the other way.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import structs

from dockerapi.engine.errors import Conflict, EngineError, NotFound
from dockerapi.engine.events import Event
from dockerapi.local.host.removal import remove_by_child
from dockerapi.local.host.sizes import tree_size
from dockerapi.local.host.threads import in_thread, submit
from dockerapi.local.journal import Journal
from dockerapi.local.layout import Layout
from dockerapi.local.namedlocks import NamedLocks
from dockerapi.local.store import Store
from dockerapi.local.volumes import driver, records
from dockerapi.local.volumes.rules import check_driver, check_name, check_options
from dockerapi.local.volumes.volume import ANONYMOUS, Volume


class Wanted(msgspec.Struct, frozen=True):
    """A volume that is asked for; without a name it is an anonymous one."""

    name: str = ""
    driver: str = ""
    options: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None


class Catalogue:
    """Volumes by name, in memory and in the database, with their users."""

    def __init__(
        self, store: Store, journal: Journal, layout: Layout, threads: ThreadPoolExecutor
    ) -> None:
        """Begin; `threads` are for what may wait for a server of files."""
        self._store = store
        self._journal = journal
        self._layout = layout
        self._threads = threads
        self._volumes: dict[str, Volume] = {}
        #: The containers that have each volume, in the order in which they got it.
        self._users: dict[str, dict[str, None]] = {}
        self._locks = NamedLocks()

    async def start(self) -> None:
        """Load what is kept, and make its directories good."""
        for volume in await self._store.read(records.load):
            self._volumes[volume.name] = volume
        for name, container in await self._store.read(records.load_uses):
            self._users.setdefault(name, {})[container] = None
        await in_thread(driver.sweep, self._layout, tuple(self._volumes))

    def __iter__(self) -> Iterator[Volume]:
        return iter(tuple(self._volumes.values()))

    def get(self, name: str) -> Volume:
        """Return a volume; raise `NotFound`."""
        volume = self._volumes.get(name)
        if volume is None:
            raise NotFound(f"get {name}: no such volume")
        return volume

    def find(self, name: str) -> Volume | None:
        """Return a volume, or None."""
        return self._volumes.get(name)

    def path(self, name: str) -> Path:
        """Return the directory of a volume's content."""
        return driver.data_of(self._layout, name)

    def users(self, name: str) -> tuple[str, ...]:
        """Return the ids of the containers that have a volume."""
        return tuple(self._users.get(name, ()))

    async def size(self, name: str) -> int:
        """Return how many bytes of disk a volume takes."""
        return await submit(self._threads, tree_size, self.path(name))

    async def create(self, wanted: Wanted) -> Volume:
        """Make a volume, or return the one of that name.

        Raises `InvalidParameter`, `NotFound` for its driver, `EngineError` where the disk fails.
        """
        wanted = _named(wanted)
        check_driver(wanted.name, wanted.driver)
        async with self._locks.of(wanted.name):
            return await self._create(wanted)

    async def claim(self, container: str, wanted: Wanted) -> tuple[Volume, bool]:
        """Give a container a volume, made where it is missing; tell whether it was.

        Raises as `create`; then the container does not have it.
        """
        wanted = _named(wanted)
        had = container in self._users.get(wanted.name, ())
        self._users.setdefault(wanted.name, {})[container] = None
        known = wanted.name in self._volumes
        try:
            volume = await self.create(wanted)
        except BaseException:
            if not had:
                self.release(container, wanted.name)
            raise
        return volume, not known

    def release(self, container: str, name: str) -> None:
        """Let a container not have a volume any more; harmless where it has not."""
        users = self._users.get(name)
        if users is not None:
            users.pop(container, None)
            if not users:
                del self._users[name]

    async def remove(self, name: str) -> None:
        """Remove a volume with its content; raise `NotFound`, and `Conflict` where it is used."""
        async with self._locks.of(name):
            await self._remove(name)

    async def remove_unused(self, name: str) -> bool:
        """Remove a volume where nobody has it; return whether it was removed."""
        with suppress(Conflict, NotFound):
            await self.remove(name)
            return True
        return False

    async def _create(self, wanted: Wanted) -> Volume:
        known = self._volumes.get(wanted.name)
        if known is not None:
            return known
        check_name(wanted.name)
        check_options(wanted.name, wanted.options or {})
        volume = Volume(wanted.name, time.time_ns(), wanted.labels, wanted.options)
        try:
            await in_thread(driver.make, self._layout, volume.name)
        except OSError as error:
            raise EngineError(f"create {volume.name}: {error}") from error

        def apply() -> None:
            self._volumes[volume.name] = volume

        try:
            await self._journal.commit(
                lambda connection: records.insert(connection, volume),
                [_event("create", volume)],
                apply,
            )
        except BaseException:
            await in_thread(driver.remove_empty, self._layout, volume.name)
            raise
        return volume

    async def _remove(self, name: str) -> None:
        volume = self.get(name)
        users = self.users(name)
        if users:
            raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
        try:
            grave = await submit(self._threads, driver.bury, self._layout, name)
        except OSError as error:
            raise EngineError(f"remove {name}: {error}") from error

        def apply() -> None:
            del self._volumes[name]

        try:
            await self._journal.commit(
                lambda connection: records.delete(connection, name),
                [_event("destroy", volume)],
                apply,
                essential=True,
            )
        except BaseException:
            await in_thread(driver.unbury, self._layout, name, grave)
            raise
        await remove_by_child(grave)


def _named(wanted: Wanted) -> Wanted:
    """Return `wanted` with a name; one that nobody gave is random, and a label tells."""
    if wanted.name:
        return wanted
    labels = {**(wanted.labels or {}), ANONYMOUS: ""}
    return structs.replace(wanted, name=secrets.token_hex(32), labels=labels)


def _event(action: str, volume: Volume) -> Event:
    return Event("volume", action, volume.name, {"driver": volume.driver})
