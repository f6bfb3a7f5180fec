"""Requests of the tag Image.

Source: the specification's ImageCreate, ImageList, ImageTag, ImageDelete and ImagePrune.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Self

import attrs

from dockerapi.model.envelope import Envelope
from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed
from dockerapi.model.query import Query
from dockerapi.model.references import Reference
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import Source

_LIST_FILTERS = ("dangling", "label", "label!", "before", "since", "reference", "until")
_PRUNE_FILTERS = ("dangling", "label", "label!", "until")


@attrs.frozen
class Platform:
    """An operating system and a processor's architecture, in Go's words; empty for any."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``os[/arch[/variant]]``, or its object in JSON; raise `Malformed`."""
        if text.startswith("{"):
            return cls._from_json(text)
        parts = text.lower().split("/")
        if len(parts) > 3 or not all(part.replace("_", "").isalnum() for part in parts):
            raise Malformed(f'"{text}": cannot parse platform specifier: invalid argument')
        if len(parts) == 1 and parts[0] not in ("linux", "windows", "darwin", "freebsd"):
            return cls("linux", *_architecture(parts[0], ""))
        return cls(parts[0], *_architecture(*[*parts[1:], "", ""][:2]))

    @classmethod
    def _from_json(cls, text: str) -> Self:
        try:
            value = json.loads(text)
            members = {key.lower(): str(item) for key, item in value.items()}
        except (ValueError, AttributeError, RecursionError):
            raise Malformed("invalid platform: it is no JSON object") from None
        return cls(
            members.get("os", ""),
            *_architecture(members.get("architecture", ""), members.get("variant", "")),
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
}


def _architecture(name: str, variant: str) -> tuple[str, str]:
    """Return an architecture and variant in Go's words."""
    known, implied = _ALIASES.get(name, (name, ""))
    return known, variant or implied


@attrs.frozen
class ImageCreateRequest:
    """An image to be pulled or imported.

    :ivar pull: what to pull; None for an import.
    :ivar source: where an import comes from: ``-`` for the body, or a URL.
    :ivar name: the name of an imported image, or None.
    :ivar platform: the wanted platform, or None for the host's.
    """

    pull: Reference | None
    source: str
    name: Reference | None
    message: str
    changes: tuple[str, ...]
    platform: Platform | None
    body: Source

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a bad name, tag or platform."""
        query = Query(envelope.query)
        platform = Platform.parse(query.text("platform")) if query.text("platform") else None
        wanted, source, tag = query.text("fromImage"), query.text("fromSrc"), query.text("tag")
        pull = name = None
        if wanted:
            pull = _tagged(Reference.parse(wanted.rstrip(":")), tag).with_default_tag()
        elif not source:
            raise Malformed("fromImage or fromSrc is required")
        elif query.text("repo"):
            name = Reference.parse(query.text("repo"))
            if name.digest:
                raise Malformed("cannot import digest reference")
            name = _tagged(name, tag).with_default_tag()
        return cls(
            pull,
            source,
            name,
            query.text("message"),
            tuple(query.all("changes")),
            platform,
            envelope.body,
        )


def _tagged(reference: Reference, tag: str) -> Reference:
    """Return `reference` with a parameter `tag`, which may be a digest; empty changes nothing."""
    if not tag:
        return reference
    return reference.with_digest(tag) if ":" in tag else reference.with_tag(tag)


@attrs.frozen
class ImageListRequest:
    """Which images ImageList shall tell of."""

    filters: Filters
    shared_size: bool
    is_default: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a filter that is none."""
        query = Query(envelope.query)
        filters = Filters.parse(query.text("filters"), _LIST_FILTERS)
        if query.text("filter"):
            # Before API 1.41 a pattern of names had a parameter of its own.
            filters = Filters(
                {**{f: filters.get(f) for f in filters}, "reference": (query.text("filter"),)}
            )
        filters.truth("dangling", False)
        shared = query.boolean("shared-size")
        return cls(filters, shared, not filters and not shared)


@attrs.frozen
class ImageTagRequest:
    """A name for an image.

    :ivar image: which image, as the client wrote it.
    """

    image: str
    name: Reference

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a bad name or tag."""
        query = Query(envelope.query)
        name = Reference.parse(query.text("repo"))
        if name.digest:
            raise Malformed("refusing to create a tag with a digest reference")
        return cls(args[0], _tagged(name, query.text("tag")).with_default_tag())


@attrs.frozen
class ImageDeleteRequest:
    """An image or a name of one that shall go."""

    image: str
    force: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0], Query(envelope.query).boolean("force"))


@attrs.frozen
class ImagePruneRequest:
    """Which unused images shall go: those without a name, unless `every`."""

    filters: Filters
    every: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a filter that is none."""
        filters = Filters.parse(Query(envelope.query).text("filters"), _PRUNE_FILTERS)
        return cls(filters, not filters.truth("dangling", True))
