"""From method and path to a route and the names in it, by Klein's routes and a memory of them.

Rule: what a path means depends on nothing but the rows; so a match is remembered, in bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from klein import Klein
from twisted.logger import Logger
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, RequestRedirect

from dockerapi.api.paths import clean, decode
from dockerapi.api.route import Route
from dockerapi.api.versions import Requested

#: How many matches are remembered.
REMEMBERED = 1024

_VERSION = re.compile(rb"/v([0-9.]+)(/.*)?", re.DOTALL)


def version_in(raw_path: bytes) -> Requested | None:
    """Return the version that `raw_path` begins with, whatever follows; None for none."""
    found = _VERSION.fullmatch(raw_path)
    return None if found is None else Requested.parse(found[1].decode("ascii"))


class _AnyPath(BaseConverter):
    """Any text, slashes and nothing at all included: Docker's ``{name:.*}``."""

    regex = ".*?"
    part_isolating = False


class _Digits(BaseConverter):
    """A version: digits and dots."""

    regex = "[0-9.]+"


class Match(msgspec.Struct, frozen=True):
    """A path that has a route.

    :ivar names: the names in the path, decoded, in order.
    :ivar version: as in the path, or None.
    :ivar path: the path as it came, without its version.
    """

    route: Route
    names: tuple[str, ...]
    version: Requested | None
    path: str


class Redirect(msgspec.Struct, frozen=True):
    """A path that is not clean, and where the client is sent instead."""

    location: bytes


Resolved = Match | Redirect | None


class Router:
    """The routes of one API.

    :ivar app: the Klein application with every row registered, with and without a version.
    """

    log = Logger()

    def __init__(
        self, rows: Iterable[Route], endpoint: Callable[..., Any], *, verbose: bool = False
    ) -> None:
        """Register `rows`; `endpoint(request, **names)` is what Klein calls for each.

        :param verbose: whether each registration is logged.
        """
        self.app = Klein()
        self.app.url_map.converters |= {"any": _AnyPath, "digits": _Digits}
        self.app.url_map.merge_slashes = False
        self._rows: dict[str, Route] = {}
        self._remembered: dict[tuple[bytes, bytes], Resolved] = {}
        for row in rows:
            if verbose:
                self.log.debug("Registering {method}, {path}", method=row.method, path=row.path)
            self._register(row, endpoint)
        for rule in self.app.url_map.iter_rules():
            # Werkzeug lets HEAD have the rows of GET; Docker's routers do not.
            if self._rows[rule.endpoint].method != "HEAD" and rule.methods is not None:
                rule.methods.discard("HEAD")
        self._adapter = self.app.url_map.bind("localhost")

    def resolve(self, method: bytes, raw_path: bytes) -> Resolved:
        """Return what `raw_path` (without query) means for `method`; None for no route.

        Raises `BadEscape`.
        """
        key = (method, raw_path)
        if key in self._remembered:
            return self._remembered[key]
        resolved = self._match(method, raw_path)
        if len(self._remembered) >= REMEMBERED:
            self._remembered.clear()
        if len(raw_path) < 512:
            self._remembered[key] = resolved
        return resolved

    def _match(self, method: bytes, raw_path: bytes) -> Resolved:
        path = decode(raw_path)
        if not path.startswith("/"):
            return None
        cleaned = clean(path)
        if cleaned != path:
            return Redirect(cleaned.encode())
        try:
            endpoint, values = self._adapter.match(path, method.decode("latin-1"))
        except (NotFound, MethodNotAllowed, RequestRedirect):
            return None
        found = dict(values)
        version = found.pop("version", None)
        if version is not None and (split := _VERSION.fullmatch(raw_path)) is not None:
            raw_path = split[2]
        return Match(
            self._rows[endpoint],
            tuple(found.values()),
            None if version is None else Requested.parse(version),
            raw_path.decode("latin-1"),
        )

    def _register(self, row: Route, endpoint: Callable[..., Any]) -> None:
        path = re.sub(r"\{(\w+):\.\*\}", r"<any:\1>", row.path)
        path = re.sub(r"\{(\w+)\}", r"<\1>", path)
        for number, rule in enumerate((path, f"/v<digits:version>{path}")):
            name = f"{row.method} {row.path} {number}"
            self._rows[name] = row
            self.app.route(rule, methods=[row.method], endpoint=name)(endpoint)
