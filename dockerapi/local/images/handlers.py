"""The operations of the tag Image on the embedded engine.

Rule: a handler decodes, calls, and shapes the answer; lists are answered from memory.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.threads import deferToThread

from dockerapi.engine.answers import Answer, Encoded, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import InvalidParameter
from dockerapi.engine.job import Job
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.image import Image
from dockerapi.local.images.importing import import_archive
from dockerapi.local.images.loading import Loader
from dockerapi.local.images.removal import Record, Remover, Users
from dockerapi.local.images.saving import Saver
from dockerapi.local.images.selection import is_between, is_dangling, selected, until
from dockerapi.local.images.views import (
    counts_containers,
    history,
    inspection,
    shared_sizes,
    summary,
)
from dockerapi.local.layout import Layout
from dockerapi.model.images import (
    ImageCreateRequest,
    ImageDeleteRequest,
    ImageHistoryRequest,
    ImageInspectRequest,
    ImageListRequest,
    ImagePruneRequest,
    ImageTagRequest,
)
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import Sink

if TYPE_CHECKING:
    from dockerapi.local.images.pulling import Puller


class Handlers:
    """Handlers of the operations."""

    def __init__(
        self,
        catalogue: Catalogue,
        layout: Layout,
        users: Users,
        insecure_registries: Iterable[str],
        registry_mirrors: Iterable[str],
    ) -> None:
        self._catalogue = catalogue
        self._layout = layout
        self._users = users
        self._saver = Saver(catalogue, layout)
        self._loader = Loader(catalogue, layout)
        self._remover = Remover(catalogue, users)
        self._registries = tuple(insecure_registries), tuple(registry_mirrors)
        self._puller: Puller | None = None
        self._lists: dict[Version, tuple[int, Encoded]] = {}

    def register(self, engine: Engine) -> None:
        """Register them."""
        engine.register("ImageCreate", self.create)
        engine.register("ImageList", self.summaries)
        engine.register("ImageInspect", self.inspect)
        engine.register("ImageHistory", self.history)
        engine.register("ImageTag", self.tag)
        engine.register("ImageGet", self._saver.save)
        engine.register("ImageGetAll", self._saver.save)
        engine.register("ImageLoad", self._loader.load)
        engine.register("ImageDelete", self.delete, detached=True)
        engine.register("ImagePrune", self.prune, detached=True)

    async def stop(self) -> None:
        """Close what is open to registries."""
        if self._puller is not None:
            await self._puller.stop()

    async def create(self, job: Job) -> Answer:
        """Pull an image, or import one from the body.

        Raises `InvalidParameter` for a source that is no body.
        """
        request = await job.request(ImageCreateRequest)
        if request.pull is not None:
            puller = await self._get_puller()
            return await puller.pull(request.pull, request.platform)
        if request.source != "-":
            raise InvalidParameter(
                "importing from a URL is not supported: fetch it, and import it from the body"
            )
        image = await import_archive(
            self._catalogue,
            request.body,
            name=request.name,
            message=request.message,
            changes=request.changes,
            wanted=request.platform,
        )

        async def serve(sink: Sink) -> None:
            await sink.write(msgspec.json.encode({"status": image.id}) + b"\r\n")

        return Stream(serve)

    async def _get_puller(self) -> Puller:
        if self._puller is None:
            # When it is needed, since it loads OpenSSL: 10 MB. In a thread, since that takes 50 ms.
            await deferToThread(importlib.import_module, "dockerapi.local.images.pulling")
            from dockerapi.local.images.pulling import Puller

            # Another pull may have made it meanwhile.
            if self._puller is None:
                self._puller = Puller(self._catalogue, *self._registries)
        return self._puller

    async def summaries(self, job: Job) -> Answer:
        """Tell of the images; the plain list is encoded once."""
        request = await job.request(ImageListRequest)
        if not request.is_default or counts_containers(job.version):
            return self._summaries(request, job.version)
        generation = self._catalogue.index.generation
        known = self._lists.get(job.version)
        if known is None or known[0] != generation:
            answer = Encoded(msgspec.json.encode(self._summaries(request, job.version)))
            known = self._lists[job.version] = (generation, answer)
        return known[1]

    async def inspect(self, job: Job) -> Answer:
        """Tell everything of one image."""
        request = await job.request(ImageInspectRequest)
        image = self._catalogue.index.find(request.image)
        image.check_platform(request.platform, request.image)
        return inspection(image, job.version, self._layout)

    async def history(self, job: Job) -> Answer:
        """Tell how an image came to be."""
        request = await job.request(ImageHistoryRequest)
        image = self._catalogue.index.find(request.image)
        image.check_platform(request.platform, request.image)
        return history(image, self._parents(image))

    def _parents(self, image: Image) -> Iterator[Image]:
        """Give the images that `image` was made of, as far as they are still there."""
        parent = self._catalogue.index.get(image.parent)
        while parent is not None:
            yield parent
            parent = self._catalogue.index.get(parent.parent)

    async def tag(self, job: Job) -> Answer:
        """Give an image a name."""
        request = await job.request(ImageTagRequest)
        await self._catalogue.tag(self._catalogue.index.find(request.image), request.name)
        return None

    async def delete(self, job: Job) -> Answer:
        """Remove an image, or a name of one."""
        request = await job.request(ImageDeleteRequest)
        return await self._remover.remove(
            request.image, force=request.force, parents_too=request.parents_too
        )

    async def prune(self, job: Job) -> Answer:
        """Remove images that nobody uses, and names of used ones that no container was made by."""
        request = await job.request(ImagePruneRequest)
        limits = until(request.filters)
        records: list[Record] = []
        reclaimed = 0
        parents = self._catalogue.index.parents()
        for image in self._catalogue.index:
            if is_between(image, parents) or not (request.every or is_dangling(image, parents)):
                continue
            if any(image.created >= limit for limit in limits):
                continue
            if not request.filters.labelled(image.labels):
                continue
            if self._remover.is_used(image):
                gone = await self._remover.remove_spare_names(image)
            else:
                gone = await self._remover.remove_unused(image)
            reclaimed += _reclaimed(image, gone)
            records += gone
        self._catalogue.publish_prune(reclaimed)
        return {"ImagesDeleted": records or None, "SpaceReclaimed": reclaimed}

    def _summaries(self, request: ImageListRequest, version: Version) -> list[dict[str, Any]]:
        index = self._catalogue.index
        images = selected(index, request.filters, every=request.every)
        shared = shared_sizes(index) if request.shared_size else {}
        counts = (
            {image.id: len(self._users.of(image.id)) for image in images}
            if counts_containers(version)
            else {}
        )
        return [
            summary(
                image,
                version,
                shared=shared.get(image.id, -1),
                containers=counts.get(image.id, -1),
            )
            for image in images
        ]


def _reclaimed(image: Image, records: list[Record]) -> int:
    gone = {record.get("Deleted") for record in records}
    return sum(layer.size for layer in image.layers if layer.chain_id in gone)
