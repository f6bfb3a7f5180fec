"""SystemDataUsage: what images, containers and volumes take on disk.

Rule: what has to be walked is walked in threads, once for all who ask meanwhile; what images take
is known already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.job import Job
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.views.listing import Listing
from dockerapi.local.host.sizes import tree_size
from dockerapi.local.host.threads import in_thread
from dockerapi.local.images import views
from dockerapi.local.images.index import Index
from dockerapi.local.volumes.catalogue import Catalogue
from dockerapi.model.usage import (
    BUILD_CACHE,
    CONTAINER,
    IMAGE,
    VOLUME,
    DataUsageRequest,
    Usage,
    document,
)
from dockerapi.model.versions import Version


class DataUsage:
    """Measures, and answers SystemDataUsage."""

    def __init__(
        self, images: Index, registry: Registry, listing: Listing, volumes: Catalogue
    ) -> None:
        self._images = images
        self._registry = registry
        self._listing = listing
        self._volumes = volumes
        #: Who waits for a walk that is under way, by kind.
        self._waiting: dict[str, list[Deferred[Usage]]] = {}

    def register(self, engine: Engine) -> None:
        """Register the handler."""
        engine.register("SystemDataUsage", self.usage)

    async def usage(self, job: Job) -> Answer:
        """Answer SystemDataUsage."""
        request = await job.request(DataUsageRequest)
        usages: dict[str, Usage] = {}
        if IMAGE in request.kinds:
            usages[IMAGE] = self._of_images(request.version)
        if CONTAINER in request.kinds:
            usages[CONTAINER] = await self._once(CONTAINER, self._of_containers)
        if VOLUME in request.kinds:
            usages[VOLUME] = await self._once(VOLUME, self._of_volumes)
        if BUILD_CACHE in request.kinds:
            usages[BUILD_CACHE] = Usage()
        return document(request, usages)

    def _once(
        self, kind: str, measure: Callable[[], Coroutine[Any, Any, Usage]]
    ) -> Deferred[Usage]:
        """Return what `measure` gives; who asks while it runs gets the same."""
        waiter: Deferred[Usage] = Deferred(lambda _: None)
        if kind in self._waiting:
            self._waiting[kind].append(waiter)
            return waiter
        self._waiting[kind] = [waiter]

        def tell(result: Usage | Failure) -> None:
            for one in self._waiting.pop(kind):
                if not one.called:
                    one.callback(result)

        Deferred.fromCoroutine(measure()).addBoth(tell)
        return waiter

    def _of_images(self, version: Version) -> Usage:
        images = sorted(self._images, key=lambda one: one.created, reverse=True)
        users = Counter(
            image for one in self._registry for image in (one.image, *one.mounted_images)
        )
        shared = views.shared_sizes(images)
        items = [
            views.summary(image, version, shared=shared[image.id], containers=users[image.id])
            # Here what is empty is null at every version.
            | {"RepoTags": list(image.tags) or None, "RepoDigests": list(image.digests) or None}
            for image in images
        ]
        layers = {layer.chain_id: layer.size for image in images for layer in image.layers}
        needed = {layer.chain_id for image in images if users[image.id] for layer in image.layers}
        return Usage(
            items,
            active=sum(bool(users[image.id]) for image in images),
            total=sum(layers.values()),
            reclaimable=sum(size for chain, size in layers.items() if chain not in needed),
        )

    async def _of_containers(self) -> Usage:
        rows = await self._listing.measured()
        return Usage(
            [row for _, row in rows],
            active=sum(one.state.active for one, _ in rows),
            total=sum(row.get("SizeRw", 0) for _, row in rows),
            reclaimable=sum(row.get("SizeRw", 0) for one, row in rows if not one.state.active),
        )

    async def _of_volumes(self) -> Usage:
        """Measure the volumes that are directories; what is mounted need not be on this disk."""
        volumes = [one for one in self._volumes if not one.options]
        paths = [str(self._volumes.path(one.name)) for one in volumes]
        sizes = await in_thread(_measure, paths)
        counts = [len(self._volumes.users(one.name)) for one in volumes]
        items = [
            {**volume.document(path), "UsageData": {"RefCount": count, "Size": size}}
            for volume, path, count, size in zip(volumes, paths, counts, sizes, strict=True)
        ]
        return Usage(
            items,
            active=sum(count > 0 for count in counts),
            total=sum(sizes),
            reclaimable=sum(size for size, count in zip(sizes, counts, strict=True) if not count),
        )


def _measure(paths: list[str]) -> list[int]:
    return [tree_size(path) for path in paths]
