"""Volumes of the embedded engine: the service that the other parts see.

Rule: it puts the parts together; which container has which volume is told by the containers.
"""

from __future__ import annotations

from dockerapi.engine.engine import Engine
from dockerapi.local.journal import Journal
from dockerapi.local.layout import Layout
from dockerapi.local.store import Store
from dockerapi.local.volumes.attaching import Attacher
from dockerapi.local.volumes.catalogue import Catalogue
from dockerapi.local.volumes.handlers import VolumeHandlers


class Volumes:
    """The volumes service.

    :ivar catalogue: the volumes, and which containers have them.
    :ivar attacher: mounts them.
    """

    def __init__(self, store: Store, journal: Journal, layout: Layout, engine: Engine) -> None:
        self.catalogue = Catalogue(store, journal, layout)
        self.attacher = Attacher(self.catalogue, layout, engine.events)

    def register(self, engine: Engine) -> None:
        """Register the handlers of the operations of the tag Volume."""
        VolumeHandlers(self.catalogue, engine).register(engine)

    async def start(self) -> None:
        """Load what is kept."""
        await self.catalogue.start()

    async def stop(self) -> None:
        """Let go of what belongs to this process; mounts stay."""
        self.attacher.stop()
