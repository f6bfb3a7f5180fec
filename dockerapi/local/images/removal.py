"""Removing images and names of images.

Source: ImageDelete and ImagePrune; dockerd's rules for what is only untagged, and its texts.
Rule: an image that a container uses stays, at least without a name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from msgspec import structs

from dockerapi.engine.errors import Conflict, InvalidParameter
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.image import Image
from dockerapi.local.images.index import unneeded
from dockerapi.model.malformed import Malformed
from dockerapi.model.references import Reference

Record = dict[str, str]


class Users(Protocol):
    """Who uses images: the containers."""

    def of(self, image: str) -> Collection[str]:
        """Return the ids of the containers that use the image with this id."""
        ...

    def names(self, image: str) -> Collection[str]:
        """Return what the containers of the image with this id were asked to be made of."""
        ...

    def is_running(self, container: str) -> bool:
        """Tell whether the container with this id runs."""
        ...


class Remover:
    """Removes images."""

    def __init__(self, catalogue: Catalogue, users: Users) -> None:
        self._catalogue = catalogue
        self._users = users

    async def remove(
        self, text: str, *, force: bool = False, parents_too: bool = True
    ) -> list[Record]:
        """Remove what `text` means: a name, and with the last name the image.

        With `parents_too` go images without a name that nothing else was made of.

        Returns the answer of ImageDelete. Raises `NotFound`, `Conflict`, and
        `InvalidParameter` for what is no reference.
        """
        if not text.strip():
            raise InvalidParameter("image name cannot be blank")
        index = self._catalogue.index
        image = index.find(text)
        records: list[Record] = []
        if index.is_id(text, image):
            if is_single(image.references):
                self._check(image, force=force, named_too=True)
                await self._untag(image, image.references, records)
            else:
                self._check(image, force=force)
                await self._untag(image, image.references, records)
        else:
            await self._remove_name(text, image, records, force=force)
            image = index.get(image.id) or image
            if image.references:
                return records
            if self.is_used(image):
                return records
        if await self._remove_image(image, records) and parents_too:
            await self._remove_parents(image, records)
        return records

    async def remove_unused(self, image: Image) -> list[Record]:
        """Remove an image that no container uses with all its names; for ImagePrune."""
        records: list[Record] = []
        await self._untag(image, image.references, records)
        if await self._remove_image(image, records):
            await self._remove_parents(image, records)
        return records

    async def remove_spare_names(self, image: Image) -> list[Record]:
        """Take those names from an image that no container was made by; for ImagePrune.

        One stays where the containers name the image by its id.
        """
        wanted = {named for text in self._users.names(image.id) if (named := _named(text))}
        tagged = [name for name in image.references if name.tag]
        kept = [name for name in tagged if name in wanted] or tagged[-1:]
        repositories = {name.name for name in kept}
        records: list[Record] = []
        spare = [name for name in tagged if name not in kept]
        digests = [name for name in image.references if not name.tag]
        spare += [name for name in digests if kept and name.name not in repositories]
        await self._untag(image, spare, records)
        return records

    def is_used(self, image: Image) -> bool:
        """Tell whether a container uses `image`."""
        return bool(self._users.of(image.id))

    async def _remove_name(
        self, text: str, image: Image, records: list[Record], *, force: bool
    ) -> None:
        user = next(iter(self._users.of(image.id)), None)
        if not force and user is not None and is_single(image.references):
            raise Conflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - '
                f"container {user[:12]} is using its referenced image {image.short_id}"
            )
        reference = Reference.parse(text).with_default_tag()
        if reference.digest:
            reference = structs.replace(reference, tag="")
        gone = [reference]
        same = [name for name in image.references if name.name == reference.name]
        if reference.tag and not any(name.tag for name in same if name != reference):
            # The last tag of a repository takes the digests with it.
            gone += [name for name in same if name.digest]
        await self._untag(image, gone, records)

    async def _untag(
        self, image: Image, references: Iterable[Reference], records: list[Record]
    ) -> None:
        gone = tuple(references)
        if gone:
            await self._catalogue.untag(image, gone)
            records += [{"Untagged": reference.familiar} for reference in gone]

    def _check(self, image: Image, *, force: bool, named_too: bool = False) -> None:
        """Raise `Conflict` where an image may not be removed by its id."""
        if image.id in self._catalogue.index.parents():
            raise Conflict(
                f"conflict: unable to delete {image.short_id} (cannot be forced) - "
                "image has dependent child images"
            )
        for container in self._users.of(image.id):
            if self._users.is_running(container):
                raise Conflict(
                    f"conflict: unable to delete {image.short_id} (cannot be forced) - "
                    f"image is being used by running container {container[:12]}"
                )
        if force:
            return
        if not named_too and image.references:
            raise Conflict(
                f"conflict: unable to delete {image.short_id} (must be forced) - "
                "image is referenced in multiple repositories"
            )
        for container in self._users.of(image.id):
            raise Conflict(
                f"conflict: unable to delete {image.short_id} (must be forced) - "
                f"image is being used by stopped container {container[:12]}"
            )

    async def _remove_parents(self, image: Image, records: list[Record]) -> None:
        """Remove those that an image was made of, up to one that has a name or is needed."""
        parent = self._catalogue.index.get(image.parent)
        while parent is not None and not parent.references:
            if not await self._remove_image(parent, records):
                return
            parent = self._catalogue.index.get(parent.parent)

    async def _remove_image(self, image: Image, records: list[Record]) -> bool:
        """Remove an image, and tell whether it could be: a container or other images need some."""
        index, content = self._catalogue.index, self._catalogue.content
        known = index.get(image.id)
        if known is None or self.is_used(known) or known.id in index.parents():
            return False
        await self._catalogue.forget(known)
        # Counted only now: another image may have come meanwhile.
        blobs, layers = unneeded(known, tuple(index))
        records.append({"Deleted": known.id})
        records += [{"Deleted": chain_id} for chain_id in layers]
        await content.remove(
            [digest for digest in blobs if not content.is_held(digest)],
            [chain_id for chain_id in layers if not content.is_held(chain_id)],
        )
        return True


def is_single(references: Iterable[Reference]) -> bool:
    """Tell whether an image has at most one tag and names in one repository only."""
    names = tuple(references)
    tags = [name for name in names if name.tag]
    return len(tags) <= 1 and len({name.name for name in names}) <= 1


def _named(text: str) -> Reference | None:
    """Return the name with a tag that `text` is; nothing for what is none, as an id."""
    try:
        return Reference.parse(text).with_default_tag()
    except Malformed:
        return None
