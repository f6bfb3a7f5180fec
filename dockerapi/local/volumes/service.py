"""Volumes of the embedded engine: the service that the other parts see.

Rule: it puts the parts together; which container has which volume is told by the containers.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dockerapi.engine.engine import Engine
from dockerapi.local.journal import Journal
from dockerapi.local.layout import Layout
from dockerapi.local.store import Store
from dockerapi.local.volumes import driver
from dockerapi.local.volumes.attaching import Attacher
from dockerapi.local.volumes.catalogue import Catalogue, Wanted
from dockerapi.local.volumes.handlers import VolumeHandlers
from dockerapi.local.volumes.volume import Volume

#: Threads for all that a server of files may hold up, for minutes: others go on meanwhile.
_THREADS = 4


class Volumes:
    """The volumes service.

    :ivar catalogue: the volumes, and which containers have them.
    """

    def __init__(self, store: Store, journal: Journal, layout: Layout, engine: Engine) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "dockerapi-volumes")
        self.catalogue = Catalogue(store, journal, layout, self._threads)
        self._attacher = Attacher(self.catalogue, layout, engine.events, self._threads)

    def register(self, engine: Engine) -> None:
        """Register the handlers of the operations of the tag Volume."""
        VolumeHandlers(self.catalogue, engine).register(engine)

    async def start(self) -> None:
        """Load what is kept."""
        await self.catalogue.start()

    async def stop(self) -> None:
        """Let go of the threads; mounts stay for containers that run on."""
        self._threads.shutdown(wait=False)

    def path(self, name: str) -> Path:
        """See `Catalogue.path`."""
        return self.catalogue.path(name)

    async def claim(self, container: str, wanted: Wanted) -> tuple[Volume, bool]:
        """See `Catalogue.claim`."""
        return await self.catalogue.claim(container, wanted)

    def release(self, container: str, name: str) -> None:
        """See `Catalogue.release`."""
        self.catalogue.release(container, name)

    def is_read_only(self, name: str) -> bool:
        """Tell whether the options of a volume have it mounted read-only."""
        return driver.is_read_only(self.catalogue.get(name))

    async def remove_unused(self, name: str) -> bool:
        """See `Catalogue.remove_unused`."""
        return await self.catalogue.remove_unused(name)

    async def attach(self, name: str, holder: str) -> bool:
        """See `Attacher.attach`."""
        return await self._attacher.attach(name, holder)

    async def detach(self, name: str, holder: str) -> bool:
        """See `Attacher.detach`."""
        return await self._attacher.detach(name, holder)

    def tell_mounted(self, name: str, container: str, destination: str, *, writable: bool) -> None:
        """See `Attacher.tell_mounted`."""
        self._attacher.tell_mounted(name, container, destination, writable=writable)

    def tell_unmounted(self, name: str, container: str) -> None:
        """See `Attacher.tell_unmounted`."""
        self._attacher.tell_unmounted(name, container)

    async def reconcile(self, living: Iterable[tuple[str, str]]) -> None:
        """See `Attacher.reconcile`."""
        await self._attacher.reconcile(living)
