"""The operation SystemEvents: its request, which events it wants, and how each version writes them.

Source: `GET /events` and `EventMessage` of the specification. Rule: syntax is checked here, meaning
by the backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import msgspec

from dockerapi.model.envelope import Envelope
from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed
from dockerapi.model.query import Query
from dockerapi.model.timestamps import NANOSECONDS, parse_unix
from dockerapi.model.versions import Version

#: The filters that pick by the beginning of the actor's id or name, whatever its type is.
_OBJECTS = (
    *("container", "network", "volume", "plugin", "daemon"),
    *("node", "service", "secret", "config"),
)
#: Actions with something behind a colon: where one is wanted, all wanted ones are beginnings.
_PREFIXES = frozenset({"exec_create", "exec_start", "health_status"})
#: From here on the members `status`, `id` and `from` are gone, and JSON lines have their own type.
_BARE = Version(1, 52)
#: From here on it is told that an image was made here.
_IMAGES_MADE = Version(1, 46)
_JSON_SEQUENCE = "application/json-seq"
_NDJSON = "application/x-ndjson"
_RECORD_SEPARATOR = b"\x1e"


class Occurrence(Protocol):
    """An event, as the events bus has it."""

    @property
    def type(self) -> str: ...  # noqa: D102
    @property
    def action(self) -> str: ...  # noqa: D102
    @property
    def actor(self) -> str: ...  # noqa: D102
    @property
    def attributes(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def time_ns(self) -> int: ...  # noqa: D102
    @property
    def scope(self) -> str: ...  # noqa: D102


class EventsRequest(msgspec.Struct, frozen=True):
    """What events are wanted, and how they are to be written.

    :ivar since: nanoseconds since 1970, or None for what happens from now on (with `until`: for
        all of the past).
    :ivar until: nanoseconds since 1970, or None for no end.
    :ivar content_type: media type of the stream.
    """

    since: int | None
    until: int | None
    filters: Filters
    version: Version
    content_type: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for bad times and filters.

        A filter of an unknown name is idle, as in dockerd.
        """
        query = Query(envelope.query)
        since_text, until_text = query.text("since"), query.text("until")
        since = parse_unix("since", since_text) if since_text else None
        until = parse_unix("until", until_text) if until_text else None
        if since is not None and until is not None and since > until:
            raise Malformed(
                f"`since` time ({since_text}) cannot be after `until` time ({until_text})"
            )
        return cls(
            since,
            until,
            Filters.parse(query.text("filters"), None),
            version,
            _negotiate(envelope.header(b"accept") or b"", version),
        )

    def wants(self, event: Occurrence) -> bool:
        """Tell whether `event` passes the filters and is not past `until`."""
        if self.until is not None and event.time_ns > self.until:
            return False
        if self.version < _IMAGES_MADE and (event.type, event.action) == ("image", "create"):
            return False
        if not self.filters:
            return True
        return (
            self.filters.exact("type", event.type)
            and self.filters.exact("scope", event.scope)
            and self._action(event.action)
            and self.filters.labels(event.attributes)
            and all(self._object(event, kind) for kind in _OBJECTS)
            and self._image(event)
        )

    def encode(self, event: Occurrence) -> bytes:
        """Write `event` as one line of the stream."""
        line = msgspec.json.encode(self._message(event)) + b"\n"
        return _RECORD_SEPARATOR + line if self.content_type == _JSON_SEQUENCE else line

    def _message(self, event: Occurrence) -> dict[str, object]:
        message: dict[str, object] = {}
        if self.version < _BARE and event.type in ("container", "image"):
            message["status"] = event.action
            if event.actor:
                message["id"] = event.actor
            if event.type == "container" and (image := event.attributes.get("image")):
                message["from"] = image
        message |= {
            "Type": event.type,
            "Action": event.action,
            "Actor": {"ID": event.actor, "Attributes": event.attributes},
            "scope": event.scope,
            "time": event.time_ns // NANOSECONDS,
            "timeNano": event.time_ns,
        }
        return message

    def _action(self, action: str) -> bool:
        wanted = self.filters.get("event")
        if not _PREFIXES.isdisjoint(wanted):
            return action.startswith(wanted)
        return not wanted or action in wanted

    def _object(self, event: Occurrence, kind: str) -> bool:
        wanted = self.filters.get(kind)
        return (
            not wanted
            or event.actor.startswith(wanted)
            or event.attributes.get("name", "").startswith(wanted)
        )

    def _image(self, event: Occurrence) -> bool:
        wanted = self.filters.get("image")
        if not wanted:
            return True
        name = event.attributes.get("name" if event.type == "image" else "image", "")
        known = {name, event.actor, _without_tag(name), _without_tag(event.actor)}
        return not known.isdisjoint(wanted)


def _without_tag(name: str) -> str:
    """Return an image's name without its tag, as users write it."""
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]


def _negotiate(accept: bytes, version: Version) -> str:
    offered = [part.partition(b";")[0].strip().lower() for part in accept.split(b",")]
    for media_type in offered:
        if media_type.decode("latin-1") in (_JSON_SEQUENCE, _NDJSON):
            return media_type.decode("latin-1")
    return "application/jsonl" if version >= _BARE else "application/json"
