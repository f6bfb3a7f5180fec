"""Counters of routes, for `/debug/vars`: answers, errors, times, bytes.

Rule: an answer counts when it is out, or broken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import attrs

from dockerapi.api.route import Route
from dockerapi.http.interfaces import Exchange


@attrs.define
class RouteCounters:
    """What is known of one route; times in seconds, hijacked and streamed answers to their end."""

    answers: int = 0
    errors: int = 0
    bytes: int = 0
    total_time: float = 0.0
    longest_time: float = 0.0


class RouteMetrics:
    """Counters by route, as in ``GET /containers/json``."""

    def __init__(self) -> None:
        self._routes: dict[str, RouteCounters] = {}

    def watch(self, request: Exchange, route: Route) -> None:
        """Count the answer to `request` once it is out."""
        since = perf_counter()
        name = f"{route.method} {route.path}"
        request.on_done(lambda: self._count(name, request, perf_counter() - since))

    def document(self) -> Mapping[str, Any]:
        """Return the counters for `/debug/vars`."""
        return {name: attrs.asdict(counters) for name, counters in self._routes.items()}

    def _count(self, name: str, request: Exchange, seconds: float) -> None:
        counters = self._routes.setdefault(name, RouteCounters())
        counters.answers += 1
        counters.errors += request.status >= 400 or request.gone
        counters.bytes += request.sent
        counters.total_time += seconds
        counters.longest_time = max(counters.longest_time, seconds)
