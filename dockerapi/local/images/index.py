"""All images in memory, found by name, id or the beginning of an id.

Rule: changed only after the store has the change.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator

from msgspec import structs

from dockerapi.engine.errors import InvalidParameter, NotFound
from dockerapi.local.images.image import Image
from dockerapi.model.malformed import Malformed
from dockerapi.model.references import Reference, is_digest, is_identifier


class Index:
    """The images.

    :ivar generation: counts the changes, so that what was made of a state can be told old.
    """

    def __init__(self) -> None:
        self._images: dict[str, Image] = {}
        self._names: dict[Reference, str] = {}
        self._sorted: list[str] = []
        self.generation = 0

    def __iter__(self) -> Iterator[Image]:
        return iter(tuple(self._images.values()))

    def __len__(self) -> int:
        return len(self._images)

    def get(self, identity: str) -> Image | None:
        """Return the image ``sha256:HEX``, or None."""
        return self._images.get(identity)

    def parents(self) -> frozenset[str]:
        """Return the ids of what images here were made of, itself here or not."""
        return frozenset(image.parent for image in self._images.values())

    def named(self, reference: Reference) -> Image | None:
        """Return the image that has exactly this name (with tag or digest), or None."""
        identity = self._names.get(reference)
        return self._images[identity] if identity is not None else None

    def add(self, image: Image) -> None:
        """Take a new image in, or the successor of one; its names are taken from others."""
        self.generation += 1
        before = self._images.get(image.id)
        if before is None:
            insort(self._sorted, image.hex)
        else:
            self._forget_names(before.references)
        for reference in image.references:
            other = self._names.get(reference)
            if other is not None and other != image.id:
                loser = self._images[other]
                self._images[other] = structs.replace(
                    loser, references=tuple(r for r in loser.references if r != reference)
                )
            self._names[reference] = image.id
        self._images[image.id] = image

    def remove(self, identity: str) -> None:
        """Forget an image with its names."""
        self.generation += 1
        image = self._images.pop(identity)
        self._forget_names(image.references)
        del self._sorted[bisect_left(self._sorted, image.hex)]

    def find(self, text: str) -> Image:
        """Return the image that `text` means: a name, a digest, an id or the beginning of one.

        Raises `NotFound` and, for what is no reference, `InvalidParameter`.
        """
        identity = f"sha256:{text}" if is_identifier(text) else text
        if is_digest(identity):
            image = self._images.get(identity)
            if image is None:
                raise NotFound(f"No such image: {identity}")
            return image
        try:
            reference = Reference.parse(text).with_default_tag()
        except Malformed as malformed:
            raise InvalidParameter(malformed.message) from malformed
        # As in dockerd the digest counts where there are both.
        wanted = structs.replace(reference, tag="") if reference.digest else reference
        found = self.named(wanted) or self._abbreviated(text)
        if found is None:
            raise NotFound(f"No such image: {reference.familiar}")
        return found

    def is_id(self, text: str, image: Image) -> bool:
        """Tell whether `text` means `image` by its id (or a beginning of it), not by a name."""
        start = text.removeprefix("sha256:")
        if not start or not image.hex.startswith(start):
            return False
        try:
            return self._names.get(Reference.parse(text).with_default_tag()) != image.id
        except Malformed:
            return True

    def _abbreviated(self, text: str) -> Image | None:
        start = text.removeprefix("sha256:")
        if not start or start.strip("0123456789abcdef"):
            return None
        place = bisect_left(self._sorted, start)
        found = [item for item in self._sorted[place : place + 2] if item.startswith(start)]
        return self._images[f"sha256:{found[0]}"] if len(found) == 1 else None

    def _forget_names(self, references: Iterable[Reference]) -> None:
        for reference in references:
            self._names.pop(reference, None)


def in_use(images: Iterable[Image]) -> tuple[set[str], set[str]]:
    """Return the blobs and the layers that `images` need."""
    blobs: set[str] = set()
    layers: set[str] = set()
    for image in images:
        blobs.update(image.blobs)
        layers.update(layer.chain_id for layer in image.layers)
    return blobs, layers


def unneeded(image: Image, others: Collection[Image]) -> tuple[list[str], list[str]]:
    """Return the blobs and the layers (topmost first) that only `image` needs."""
    blobs, layers = in_use(others)
    return (
        [digest for digest in image.blobs if digest not in blobs],
        [layer.chain_id for layer in reversed(image.layers) if layer.chain_id not in layers],
    )
