"""The operations of the tag Volume.

Source: VolumeList, VolumeCreate, ... of the specification. Rule: a handler decodes, calls, and
shapes the answer; lists are answered from memory.
"""

from __future__ import annotations

from typing import Any

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import NotFound, Unavailable
from dockerapi.engine.events import Event
from dockerapi.engine.job import Job
from dockerapi.local.volumes.catalogue import Catalogue, Wanted
from dockerapi.local.volumes.volume import Volume
from dockerapi.model.volumes import (
    CLUSTER_VOLUMES,
    VolumeCreateRequest,
    VolumeDeleteRequest,
    VolumeListRequest,
    VolumePruneRequest,
    VolumeRequest,
)

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
    "this node to swarm and try again."
)


class VolumeHandlers:
    """Handlers of the engine's jobs."""

    def __init__(self, catalogue: Catalogue, engine: Engine) -> None:
        self._catalogue = catalogue
        self._events = engine.events

    def register(self, engine: Engine) -> None:
        """Register the handlers of this class."""
        engine.register("VolumeList", self.list)
        engine.register("VolumeInspect", self.inspect)
        for name, handler in (
            ("VolumeCreate", self.create),
            ("VolumeUpdate", self.update),
            ("VolumeDelete", self.delete),
            ("VolumePrune", self.prune),
        ):
            engine.register(name, handler, detached=True)

    async def list(self, job: Job) -> Answer:
        """Answer VolumeList: the volumes that pass the filters, by name."""
        request = await job.request(VolumeListRequest)
        found = sorted(self._catalogue, key=lambda volume: volume.name)
        volumes = [self._document(one) for one in found if self._wanted(one, request)]
        return {"Volumes": volumes, "Warnings": None}

    async def inspect(self, job: Job) -> Answer:
        """Answer VolumeInspect."""
        request = await job.request(VolumeRequest)
        return self._document(self._catalogue.get(request.volume))

    async def create(self, job: Job) -> Answer:
        """Answer VolumeCreate: the new volume, or the one that has the name.

        Raises `Unavailable` for a volume of a swarm.
        """
        request = await job.request(VolumeCreateRequest)
        body = request.body
        if body.cluster_volume_spec is not None and request.version >= CLUSTER_VOLUMES:
            raise Unavailable(_NO_MANAGER)
        wanted = Wanted(body.name, body.driver, body.driver_opts, body.labels)
        return self._document(await self._catalogue.create(wanted))

    async def update(self, job: Job) -> Answer:
        """Refuse VolumeUpdate, which is for volumes of a swarm."""
        if job.version < CLUSTER_VOLUMES:
            raise NotFound("page not found")
        raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")

    async def delete(self, job: Job) -> Answer:
        """Answer VolumeDelete."""
        request = await job.request(VolumeDeleteRequest)
        try:
            await self._catalogue.remove(request.volume)
        except NotFound:
            if not request.force:
                raise
        return None

    async def prune(self, job: Job) -> Answer:
        """Answer VolumePrune: remove what no container has.

        Volumes with options are spared: what they hold need not be on this host.
        """
        request = await job.request(VolumePruneRequest)
        deleted, reclaimed = [], 0
        for volume in self._catalogue:
            if not self._prunable(volume, request):
                continue
            size = await self._catalogue.size(volume.name)
            if await self._catalogue.remove_unused(volume.name):
                deleted.append(volume.name)
                reclaimed += size
        self._events.publish(Event("volume", "prune", "", {"reclaimed": str(reclaimed)}))
        return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}

    def _prunable(self, volume: Volume, request: VolumePruneRequest) -> bool:
        filters = request.filters
        return (
            not self._catalogue.users(volume.name)
            and not volume.options
            and (request.named or volume.anonymous)
            and filters.labelled(volume.labels or {})
        )

    def _wanted(self, volume: Volume, request: VolumeListRequest) -> bool:
        filters = request.filters
        used = bool(self._catalogue.users(volume.name))
        return (
            request.dangling in (None, not used)
            and filters.exact("driver", volume.driver)
            and filters.labels(volume.labels or {})
            and filters.pattern("name", volume.name)
        )

    def _document(self, volume: Volume) -> dict[str, Any]:
        return volume.document(str(self._catalogue.path(volume.name)))
