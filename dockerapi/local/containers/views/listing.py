"""ContainerList: which containers, newest first, encoded once for as long as nothing changes.

Source: `ContainerList` of the specification. Rule: answers and rows are remembered until a
container or an image changes or the second does, since ages are told in seconds; sizes are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dockerapi.engine.errors import InvalidParameter, NotFound
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.links import names_by_links
from dockerapi.local.containers.needs import Images
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.views.documents import now, summary
from dockerapi.local.containers.views.older import listed_at
from dockerapi.local.containers.views.ports import exposes, publishes
from dockerapi.local.containers.views.sizes import ContainerSizes
from dockerapi.model.container_requests import ListRequest

_HEALTH = ("none", "starting", "healthy", "unhealthy")
#: How many answers are remembered at most.
_REMEMBERED = 64


class Listing:
    """Lists the containers of a registry."""

    def __init__(self, registry: Registry, sizes: ContainerSizes, images: Images) -> None:
        self._registry = registry
        self._sizes = sizes
        self._images = images
        self._generation = images.generation
        #: Whether the name by which an image was asked for still means it.
        self._named: dict[tuple[str, str], bool] = {}
        self._remembered: dict[str, bytes] = {}
        #: Every container with its row, without sizes, newest first.
        self._everything: list[tuple[Container, dict[str, Any]]] | None = None
        self._second = 0

    def forget(self) -> None:
        """Forget every answer, since a container changed."""
        self._remembered.clear()
        self._everything = None

    def _now(self) -> float:
        """Return the time, having forgotten what was remembered in another second."""
        time = now()
        if self._generation != self._images.generation:
            self._generation = self._images.generation
            self._named.clear()
            self.forget()
        if int(time) != self._second:
            self.forget()
            self._second = int(time)
        return time

    async def encoded(self, request: ListRequest) -> bytes:
        """Return the answer to `request` as JSON."""
        time = self._now()
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        body = None if request.size else self._remembered.get(request.key)
        if body is None:
            chosen = self.chosen(request)
            rows = self._rows(chosen, time)
            if request.size:
                await self._add_sizes(chosen, rows)
            for row in rows:
                listed_at(request.version, row)
            body = msgspec.json.encode(rows) + b"\n"
            if not request.size:
                self._remembered[request.key] = body
        return body

    def chosen(self, request: ListRequest) -> list[Container]:
        """Return the containers that `request` wants, newest first; raise `InvalidParameter`."""
        filters = request.filters
        for health in filters.get("health"):
            if health not in _HEALTH:
                raise InvalidParameter(
                    f"invalid filter 'health={health}': invalid value for health ({health}): "
                    f"must be one of {', '.join(_HEALTH)}"
                )
        # Only asking for states asks for containers that do not run.
        everything = request.all or request.limit > 0 or bool(filters.get("status"))
        newest = sorted(self._registry, key=lambda one: one.created_at, reverse=True)
        since, before = self._others(request, "since"), self._others(request, "before")
        wanted = filters.get("ancestor")
        images = {made for name in wanted for made in self._images.made_of(name)}
        found = [
            one
            for one in newest
            if (everything or one.state.active)
            and all(one.created_at > other for other in since)
            and all(one.created_at < other for other in before)
            and (not wanted or one.image in images)
            and self._wanted(one, request)
        ]
        return found[: request.limit] if request.limit > 0 else found

    def _wanted(self, container: Container, request: ListRequest) -> bool:
        filters, state = request.filters, container.state
        labels = container.config.labels or {}
        return (
            any(container.id.startswith(item) for item in filters.get("id"))
            if filters.get("id")
            else True
        ) and all(
            (
                filters.pattern("name", container.name, f"/{container.name}"),
                filters.labelled(labels),
                filters.exact("status", container.status.value),
                filters.exact("exited", str(state.exit_code) if _has_ended(container) else "none"),
                _is_on(container, filters.get("network")),
                filters.exact("health", container.health.status if container.health else "none"),
                filters.exact("volume", *_volume_names(container)),
                exposes(container, filters.get("expose")),
                publishes(container, filters.get("publish")),
                filters.truth("is-task", False) is False,
            )
        )

    def _others(self, request: ListRequest, name: str) -> list[int]:
        """Return when those were created that the filter `name` names."""
        try:
            return [self._registry.get(one).created_at for one in request.filters.get(name)]
        except NotFound as missing:
            raise InvalidParameter(missing.message) from None

    def _rows(self, containers: Sequence[Container], time: float) -> list[dict[str, Any]]:
        rows = [summary(container, time) for container in containers]
        for container, row in zip(containers, rows, strict=True):
            if not self._is_named(container):
                row["Image"] = container.image
        if more := names_by_links(self._registry):
            for container, row in zip(containers, rows, strict=True):
                row["Names"] += more.get(container.id, ())
        return rows

    def _is_named(self, container: Container) -> bool:
        """Tell whether what a container's image was called still means that image."""
        key = container.config.image, container.image
        known = self._named.get(key)
        if known is None:
            known = self._named[key] = self._images.means(*key)
        return known

    async def measured(self) -> list[tuple[Container, dict[str, Any]]]:
        """Return every container with its row, sizes included, newest first."""
        time = self._now()
        if self._everything is None:
            newest = sorted(self._registry, key=lambda one: one.created_at, reverse=True)
            self._everything = list(zip(newest, self._rows(newest, time), strict=True))
        found = [(container, row.copy()) for container, row in self._everything]
        await self._add_sizes([one for one, _ in found], [row for _, row in found])
        return found

    async def _add_sizes(
        self, containers: Sequence[Container], rows: Sequence[dict[str, Any]]
    ) -> None:
        for row, size in zip(rows, await self._sizes.of(containers), strict=True):
            if size.written:
                row["SizeRw"] = size.written
            if size.root:
                row["SizeRootFs"] = size.root


def _has_ended(container: Container) -> bool:
    """Tell whether it ran and does not now: the code of an earlier end is none any more."""
    return bool(container.state.started_at) and not container.state.active


def _is_on(container: Container, networks: Sequence[str]) -> bool:
    """Tell whether a container is on one of `networks`, which names or beginnings of ids tell."""
    sandbox = container.sandbox
    if not networks:
        return True
    if sandbox is None:
        return container.host_config.network_mode in networks
    return any(
        one.network in networks or one.network_id.startswith(tuple(networks))
        for one in sandbox.endpoints
    )


def _volume_names(container: Container) -> list[str]:
    """Return the names by which a container's mounts may be asked for."""
    return [
        text
        for point in container.mounts
        if point.listed
        for text in (point.name or point.source, point.destination)
    ]
