"""Headers that every answer has, and those of `/_ping`.

Rule: made once, and again only when the facts of the engine change.
"""

from __future__ import annotations

from dockerapi.engine.facts import Facts
from dockerapi.http.interfaces import HeaderList

_JSON = (b"Content-Type", b"application/json")


class CommonHeaders:
    """Makes the headers from the facts of an engine; made again only when the facts change."""

    def __init__(self, facts: Facts, version: str) -> None:
        self._facts = facts
        self._server = f"Docker/{version} ({facts.os})".encode()
        self._made: tuple[object, ...] = ()
        self._make()

    @property
    def plain(self) -> HeaderList:
        """For answers without a body, or of a type of their own."""
        self._refresh()
        return self._plain

    @property
    def json(self) -> HeaderList:
        """For answers in JSON."""
        self._refresh()
        return self._json

    @property
    def ping(self) -> HeaderList:
        """For `/_ping`. A builder that is not there is not named."""
        self._refresh()
        return self._ping

    def _refresh(self) -> None:
        if self._key() != self._made:
            self._make()

    def _key(self) -> tuple[object, ...]:
        facts = self._facts
        return (facts.newest, facts.experimental, facts.os, facts.builder, facts.swarm)

    def _make(self) -> None:
        facts = self._facts
        self._made = self._key()
        self._plain: HeaderList = (
            (b"Api-Version", str(facts.newest).encode()),
            (b"Docker-Experimental", b"true" if facts.experimental else b"false"),
            (b"Ostype", facts.os.encode()),
            (b"Server", self._server),
        )
        self._json: HeaderList = (*self._plain, _JSON)
        ping = [
            *self._plain,
            (b"Cache-Control", b"no-cache, no-store, must-revalidate"),
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Pragma", b"no-cache"),
            (b"Swarm", facts.swarm.encode()),
        ]
        if facts.builder:
            ping.append((b"Builder-Version", facts.builder.encode()))
        self._ping: HeaderList = tuple(ping)
