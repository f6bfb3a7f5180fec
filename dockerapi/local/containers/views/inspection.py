"""ContainerInspect: a container's document, encoded once for as long as it does not change.

Rule: whether it changed is seen on the container itself, so nobody has to tell.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dockerapi.engine.errors import NotFound
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.links import shown
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.views.documents import inspect_document
from dockerapi.local.containers.views.older import inspected_at
from dockerapi.local.containers.views.sizes import ContainerSizes
from dockerapi.model.versions import Version

#: How many documents are remembered at most.
_REMEMBERED = 256


class Inspection:
    """Makes and remembers the documents of containers."""

    def __init__(self, registry: Registry, places: Places, sizes: ContainerSizes) -> None:
        self._registry = registry
        self._places = places
        self._sizes = sizes
        self._remembered: dict[tuple[str, Version], tuple[Callable[[], bool], bytes]] = {}

    async def encoded(self, container: Container, version: Version, *, size: bool) -> bytes:
        """Return the answer to ContainerInspect; with `size`, the sizes of its layers too."""
        if size:
            return await self._with_size(container, version)
        key = (container.id, version)
        found = self._remembered.get(key)
        if found is not None and found[0]():
            return found[1]
        body = await self._encode(container, version)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        if not container.host_config.links:
            # What links are called changes with other containers.
            self._remembered[key] = (_unchanged(container), body)
        return body

    async def _encode(self, container: Container, version: Version, **sizes: int) -> bytes:
        directories = self._places.directories(container)
        try:
            lower = ":".join(map(str, await self._places.layers(container)))
        except NotFound:
            lower = ""
        document = inspect_document(container, directories, lower)
        document["HostConfig"]["Links"] = shown(container, self._registry)
        inspected_at(version, document, container)
        return msgspec.json.encode(document | sizes) + b"\n"

    async def _with_size(self, container: Container, version: Version) -> bytes:
        (size,) = await self._sizes.of([container])
        return await self._encode(container, version, SizeRw=size.written, SizeRootFs=size.root)


def _unchanged(container: Container) -> Callable[[], bool]:
    """Return a function that tells whether `container` is as it is now.

    States, sandboxes and configurations are replaced, not changed.
    """
    before, status, name, sandbox = (
        container.state,
        container.status,
        container.name,
        container.sandbox,
    )
    health = container.health
    host_config, execs = container.host_config, tuple(container.exec_ids)

    def unchanged() -> bool:
        return (
            container.state is before
            and container.status is status
            and container.sandbox is sandbox
            and container.name == name
            and container.health is health
            and container.host_config is host_config
            and tuple(container.exec_ids) == execs
        )

    return unchanged
