"""Which volumes are mounted, and by which containers: from the first use to the end of the last.

Source: dockerd's volume store and its events. Rule: what was mounted before a kill -9 is found by
`reconcile`; a volume without options has nothing to mount, and is counted all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from twisted.logger import Logger

from dockerapi.engine.events import Event, EventBus
from dockerapi.local.host.threads import submit
from dockerapi.local.layout import Layout
from dockerapi.local.namedlocks import NamedLocks
from dockerapi.local.volumes import driver
from dockerapi.local.volumes.catalogue import Catalogue
from dockerapi.local.volumes.volume import Volume


class Attacher:
    """Mounts and unmounts volumes as containers start and end."""

    log = Logger()

    def __init__(
        self, catalogue: Catalogue, layout: Layout, events: EventBus, threads: ThreadPoolExecutor
    ) -> None:
        self._catalogue = catalogue
        self._layout = layout
        self._events = events
        self._locks = NamedLocks()
        self._holders: dict[str, set[str]] = {}
        self._threads = threads

    async def attach(self, name: str, holder: str) -> bool:
        """Have a volume mounted for `holder`; return whether it is a mount of its own.

        Raises `EngineError` in dockerd's words.
        """
        volume = self._catalogue.get(name)
        async with self._locks.of(name):
            holders = self._holders.setdefault(name, set())
            try:
                if volume.needs_mount and not holders:
                    await submit(self._threads, driver.attach, self._layout, volume)
            except BaseException:
                if not holders:
                    self._holders.pop(name, None)
                raise
            holders.add(holder)
        return volume.needs_mount

    async def detach(self, name: str, holder: str) -> bool:
        """Let go of what `attach` gave; return whether `holder` had it. Failures are logged."""
        async with self._locks.of(name):
            holders = self._holders.get(name, set())
            if holder not in holders:
                return False
            holders.discard(holder)
            if not holders:
                self._holders.pop(name, None)
                volume = self._catalogue.find(name)
                if volume is not None and volume.needs_mount:
                    await self._unmount(volume)
            return True

    async def _unmount(self, volume: Volume) -> None:
        try:
            await submit(self._threads, driver.detach, self._layout, volume.name)
        except OSError as error:
            self.log.warn(
                "the volume {name} is mounted still: {error}", name=volume.name, error=error
            )

    def tell_mounted(self, name: str, container: str, destination: str, *, writable: bool) -> None:
        """Publish that a container has mounted a volume."""
        self._publish(
            "mount",
            name,
            {
                "container": container,
                "destination": destination,
                "driver": self._catalogue.get(name).driver,
                "propagation": "",
                "read/write": "true" if writable else "false",
            },
        )

    def tell_unmounted(self, name: str, container: str) -> None:
        """Publish that a container does not have a volume mounted any more."""
        volume = self._catalogue.find(name)
        if volume is not None:
            self._publish("unmount", name, {"container": container, "driver": volume.driver})

    async def reconcile(self, living: Iterable[tuple[str, str]]) -> None:
        """Take up the mounts of containers that run, and unmount all others.

        :param living: the id of each container that runs with the name of each of its volumes.
        """
        for container, name in living:
            self._holders.setdefault(name, set()).add(container)
        for volume in self._catalogue:
            if volume.needs_mount and volume.name not in self._holders:
                await self._unmount(volume)

    def _publish(self, action: str, name: str, attributes: dict[str, str]) -> None:
        self._events.publish(Event("volume", action, name, attributes))
