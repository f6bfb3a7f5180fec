"""The operation ContainerStats: one sample, or one each second.

Rule: files are read in threads; a client that does not take its samples gets fewer, and none is
kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from dockerapi.engine.answers import Answer, Encoded, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.job import Job
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.stats.sample import sample
from dockerapi.local.containers.views.older import sampled_at
from dockerapi.local.host.threads import in_thread
from dockerapi.model.container_requests import StatsRequest
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import Sink

#: Seconds between two samples.
INTERVAL = 1.0


class Stats:
    """Samples containers."""

    def __init__(self, registry: Registry, clock: IReactorTime) -> None:
        self._registry = registry
        self._clock = clock

    def register(self, engine: Engine) -> None:
        """Register the handler of this module."""
        engine.register("ContainerStats", self.stats, follows=True)

    async def stats(self, job: Job) -> Answer:
        """Answer ContainerStats: a stream, or one sample with the one a second before it."""
        request = await job.request(StatsRequest)
        container = self._registry.get(request.container)
        if request.stream:

            async def serve(sink: Sink) -> None:
                await self._serve(container, sink, job.version)

            return Stream(serve, "application/json")
        first = await self._sample(container, None)
        if not container.state.running:
            return Encoded(_line(first))
        if request.one_shot:
            return Encoded(_line(sampled_at(job.version, first)))
        await deferLater(self._clock, INTERVAL)
        return Encoded(_line(sampled_at(job.version, await self._sample(container, first))))

    async def _serve(self, container: Container, sink: Sink, version: Version) -> None:
        before = None
        while container.id in self._registry:
            before = await self._sample(container, before)
            told = sampled_at(version, before) if container.state.running else before
            await sink.write(_line(told))
            await deferLater(self._clock, INTERVAL)

    async def _sample(
        self, container: Container, before: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        sandbox = container.sandbox
        own = sandbox is not None and sandbox.path is not None
        return await in_thread(
            sample, container.id, container.name, container.state.pid, network=own, before=before
        )


def _line(document: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(document) + b"\n"
