"""ContainerList: which containers, newest first, encoded once for as long as nothing changes.

Source: `ContainerList` of the specification. Rule: answers and rows are remembered until a
container changes or the second does, since ages are told in seconds; sizes are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dockerapi.engine.errors import InvalidParameter, NotFound
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.links import names_by_links
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

    def __init__(self, registry: Registry, sizes: ContainerSizes) -> None:
        self._registry = registry
        self._sizes = sizes
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
        found = [
            one
            for one in newest
            if (everything or one.state.active)
            and all(one.created_at > other for other in since)
            and all(one.created_at < other for other in before)
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
                filters.exact("network", *self._networks(container)),
                filters.exact("ancestor", *_ancestors(container)),
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

    @staticmethod
    def _networks(container: Container) -> list[str]:
        sandbox = container.sandbox
        if sandbox is None:
            return [container.host_config.network_mode]
        return [text for one in sandbox.endpoints for text in (one.network, one.network_id)]

    def _rows(self, containers: Sequence[Container], time: float) -> list[dict[str, Any]]:
        rows = [summary(container, time) for container in containers]
        if more := names_by_links(self._registry):
            for container, row in zip(containers, rows, strict=True):
                row["Names"] += more.get(container.id, ())
        return rows

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


def _ancestors(container: Container) -> list[str]:
    """Return the names by which a container's image may be asked for."""
    name, identity = container.config.image, container.image
    bare = identity.removeprefix("sha256:")
    return [name, name if ":" in name else f"{name}:latest", identity, bare, bare[:12]]


def _volume_names(container: Container) -> list[str]:
    """Return the names by which a container's mounts may be asked for."""
    return [
        text
        for point in container.mounts
        if point.listed
        for text in (point.name or point.source, point.destination)
    ]
