"""ContainerInspect: a container's document, encoded once for as long as it does not change.

Rule: whether it changed is seen on the container itself, so nobody has to tell.
"""

from __future__ import annotations

from operator import is_
from weakref import WeakKeyDictionary

import msgspec

from dockerapi.engine.errors import NotFound
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.links import shown
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.views.documents import inspect_document
from dockerapi.local.containers.views.older import inspected_at
from dockerapi.local.containers.views.sizes import ContainerSizes
from dockerapi.model.containers import Ulimit, to_api
from dockerapi.model.defaults import with_defaults
from dockerapi.model.versions import Version

#: Of how many containers documents are remembered at most.
_REMEMBERED = 256

#: What of a container is replaced when it changes, and what has to be equal.
_Condition = tuple[tuple[object, ...], tuple[object, ...]]


class Inspection:
    """Makes and remembers the documents of containers.

    `ulimits` are the limits that containers have where they say nothing.
    """

    def __init__(
        self,
        registry: Registry,
        places: Places,
        sizes: ContainerSizes,
        ulimits: tuple[Ulimit, ...],
    ) -> None:
        self._registry = registry
        self._ulimits = ulimits
        self._places = places
        self._sizes = sizes
        self._remembered: WeakKeyDictionary[Container, dict[Version, tuple[_Condition, bytes]]] = (
            WeakKeyDictionary()
        )

    async def encoded(self, container: Container, version: Version, *, size: bool) -> bytes:
        """Return the answer to ContainerInspect; with `size`, the sizes of its layers too."""
        if size:
            return await self._with_size(container, version)
        found = self._remembered.get(container, {}).get(version)
        if found is not None and _is_same(found[0], _condition(container)):
            return found[1]
        body = await self._encode(container, version)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        if not container.host_config.links:
            # What links are called changes with other containers.
            remembered = self._remembered.setdefault(container, {})
            remembered[version] = (_condition(container), body)
        return body

    async def _encode(self, container: Container, version: Version, **sizes: int) -> bytes:
        directories = self._places.directories(container)
        try:
            lower = ":".join(map(str, await self._places.layers(container)))
        except NotFound:
            lower = ""
        document = inspect_document(container, directories, lower)
        host = document["HostConfig"]
        host["Links"] = shown(container, self._registry)
        if self._ulimits:
            limits = with_defaults(container.host_config.ulimits, self._ulimits)
            host["Ulimits"] = [to_api(limit) for limit in limits]
        inspected_at(version, document, container)
        return msgspec.json.encode(document | sizes) + b"\n"

    async def _with_size(self, container: Container, version: Version) -> bytes:
        (size,) = await self._sizes.of([container])
        return await self._encode(container, version, SizeRw=size.written, SizeRootFs=size.root)


def _condition(container: Container) -> _Condition:
    """Return what tells whether `container` is as it was."""
    replaced = (
        container.state,
        container.status,
        container.sandbox,
        container.health,
        container.host_config,
    )
    return replaced, (container.name, *container.exec_ids)


def _is_same(before: _Condition, now: _Condition) -> bool:
    return before[1] == now[1] and all(map(is_, before[0], now[0]))
