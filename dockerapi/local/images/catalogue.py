"""The engine's images: the index in memory and the store behind it, changed together.

Rule: an event is published after its change is committed and can be read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from msgspec import structs

from dockerapi.engine.events import Event, EventBus
from dockerapi.local.images import records
from dockerapi.local.images.content import Content
from dockerapi.local.images.image import Image
from dockerapi.local.images.index import Index, in_use
from dockerapi.local.store import Store
from dockerapi.model.references import Reference


class Catalogue:
    """Images by id and by name, with their content.

    :ivar index: the images; read it freely, change it through here.
    :ivar content: their blobs and layers.
    """

    def __init__(self, store: Store, content: Content, events: EventBus) -> None:
        self._store = store
        self._events = events
        self.index = Index()
        self.content = content

    async def start(self) -> None:
        """Read the images, and remove content that none of them needs.

        Where one cannot be read all content stays: containers may need it.
        """
        loaded = await self._store.read(records.load)
        for image in loaded.images:
            self.index.add(image)
        blobs, _ = in_use(self.index)
        layers = {layer.chain_id: layer for image in self.index for layer in image.layers}
        self.content.know(layers)
        if loaded.whole:
            await self.content.sweep(blobs, layers)

    async def collect(self, names: Iterable[str]) -> None:
        """Remove those of these blobs and layers that no image needs and nobody holds."""
        blobs, layers = in_use(self.index)
        gone = [
            name
            for name in names
            if name not in blobs and name not in layers and not self.content.is_held(name)
        ]
        await self.content.remove(gone, gone)

    async def add(
        self, image: Image, names: Iterable[Reference] = (), *, tagged: bool = False
    ) -> Image:
        """Record an image and give it `names`; return it as it is then.

        `tagged` tells whether somebody named it now: what is loaded or pulled comes with its names.
        """
        wanted = tuple(names)
        now = time.time_ns() if tagged else 0
        present = self.index.get(image.id)
        if present is None or not image.blobs.keys() <= present.blobs.keys():
            await self.content.settle()
        await self._store.write(lambda db: records.add(db, image, wanted, now))
        known = self.index.get(image.id) or image
        return self._named(
            structs.replace(known, blobs={**known.blobs, **image.blobs}), wanted, now
        )

    async def tag(self, image: Image, reference: Reference) -> None:
        """Give an image one more name, and publish it."""
        now = time.time_ns()
        await self._store.write(lambda db: records.name(db, image.id, [reference], now))
        self._named(self.index.get(image.id) or image, (reference,), now)
        self.publish("tag", image, reference.familiar)

    async def descend(self, identity: str, parent: str) -> None:
        """Record that an image was made of another, where both are there and that can be.

        What already has a parent keeps it: nothing comes to be among its own ancestors.
        """
        image, above = self.index.get(identity), self.index.get(parent)
        if image is None or above is None or image.parent:
            return
        below = len(above.layers)
        while above is not None and above.id != identity:
            above = self.index.get(above.parent)
        known = self.index.get(parent)
        if above is not None or known is None or image.layers[:below] != known.layers:
            return
        await self._store.write(lambda db: records.set_parent(db, identity, parent))
        self.index.add(structs.replace(self.index.get(identity) or image, parent=parent))

    async def untag(self, image: Image, references: Iterable[Reference]) -> None:
        """Take names away from an image, and publish each."""
        gone = tuple(references)
        await self._store.write(lambda db: records.remove(db, None, gone), essential=True)
        known = self.index.get(image.id) or image
        self.index.add(
            structs.replace(known, references=tuple(r for r in known.references if r not in gone))
        )
        for _ in gone:
            self.publish("untag", image, image.id)

    async def forget(self, image: Image) -> None:
        """Remove an image without names, and publish it; its content is not touched.

        From the call on nobody finds it, so that what is made of it meanwhile is made in vain.
        """
        self.index.remove(image.id)
        try:
            await self._store.write(
                lambda db: records.remove(db, image.id, image.references), essential=True
            )
        except BaseException:
            self.index.add(image)
            raise
        self.publish("delete", image, image.id)

    def publish(self, action: str, image: Image, name: str) -> None:
        """Tell of something that happened to an image; `name` is what dockerd tells besides."""
        self.publish_for(action, image.id, image, name)

    def publish_for(self, action: str, actor: str, image: Image, name: str) -> None:
        """Tell of something that happened to `actor`, a name of `image`."""
        labels = {key: str(value) for key, value in image.labels.items()}
        self._events.publish(Event("image", action, actor, {**labels, "name": name}))

    def publish_prune(self, reclaimed: int) -> None:
        """Tell that unused images were removed, and how many bytes that gave."""
        self._events.publish(Event("image", "prune", "", {"reclaimed": str(reclaimed)}))

    def _named(self, image: Image, names: tuple[Reference, ...], now: int) -> Image:
        references = tuple(sorted({*image.references, *names}))
        named = structs.replace(
            image, references=references, tagged=(names and now) or image.tagged
        )
        self.index.add(named)
        return named
