"""The images of the embedded engine: what the other parts and the API's operations use.

Rule: an image is there with all its layers or not at all, whatever moment the server dies.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError
from dockerapi.engine.events import EventBus
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.content import Content
from dockerapi.local.images.handlers import Handlers
from dockerapi.local.images.image import Image
from dockerapi.local.images.removal import Users
from dockerapi.local.layout import Layout
from dockerapi.local.store import Store


class Images:
    """The images.

    :ivar catalogue: the images and their content.
    """

    def __init__(
        self,
        store: Store,
        layout: Layout,
        events: EventBus,
        users: Users,
        *,
        insecure_registries: Iterable[str] = (),
        registry_mirrors: Iterable[str] = (),
    ) -> None:
        self._layout = layout
        self.catalogue = Catalogue(store, Content(layout), events)
        self._handlers = Handlers(
            self.catalogue, layout, users, insecure_registries, registry_mirrors
        )

    def register(self, engine: Engine) -> None:
        """Register the operations of the tag Image."""
        self._handlers.register(engine)

    async def start(self) -> None:
        """Read the images, and remove what an interrupted change left."""
        await self.catalogue.start()

    async def stop(self) -> None:
        """Let go of connections to registries."""
        await self._handlers.stop()

    async def resolve(self, reference: str) -> Image:
        """Return the image that a name, id or beginning of an id means.

        Raises `NotFound` (``No such image: x:latest``), and `InvalidParameter` for what is no
        reference.
        """
        return self.catalogue.index.find(reference)

    @property
    def generation(self) -> int:
        """Counts the changes of images and their names."""
        return self.catalogue.index.generation

    def means(self, reference: str, identity: str) -> bool:
        """Tell whether a name, id or beginning of an id means the image ``sha256:HEX``."""
        try:
            return self.catalogue.index.find(reference).id == identity
        except EngineError:
            return False

    def made_of(self, reference: str) -> set[str]:
        """Return the ids of the image that `reference` means and of all that were made of it."""
        try:
            found = {self.catalogue.index.find(reference).id}
        except EngineError:
            return set()
        children: dict[str, list[str]] = {}
        for image in self.catalogue.index:
            children.setdefault(image.parent, []).append(image.id)
        pending = [*found]
        while pending:
            new = set(children.get(pending.pop(), ())) - found
            found |= new
            pending += new
        return found

    def get(self, identity: str) -> Image | None:
        """Return the image with the id ``sha256:HEX``, or None."""
        return self.catalogue.index.get(identity)

    def size_of(self, identity: str) -> int:
        """Return the bytes of the image with the id ``sha256:HEX``; 0 where there is none."""
        image = self.get(identity)
        return 0 if image is None else image.size

    def layer_paths(self, image: Image) -> list[Path]:
        """Return the directories of the image's layers, topmost first, as overlayfs wants them."""
        return [self._layout.layer(layer.chain_id) for layer in reversed(image.layers)]

    def __len__(self) -> int:
        return len(self.catalogue.index)
