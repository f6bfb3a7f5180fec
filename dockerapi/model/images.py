"""Requests of the tag Image.

Source: the specification's ImageCreate, ImageList, ImageTag, ImageDelete and ImagePrune. Rule:
syntax is checked here, meaning by the backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from dockerapi.model.envelope import Envelope
from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform, host_platform
from dockerapi.model.query import Query
from dockerapi.model.references import Reference
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import Source

#: Names that would read as the algorithm of an id.
_ALGORITHMS = ("sha256",)
_LIST_FILTERS = ("dangling", "label", "label!", "before", "since", "reference", "until")
#: From here on one image of several platforms can be asked for.
_HISTORY_PLATFORM = Version(1, 48)
_INSPECTED_PLATFORM = Version(1, 49)
_PRUNE_FILTERS = ("dangling", "label", "label!", "until")


class ImageCreateRequest(msgspec.Struct, frozen=True):
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
        elif platform is not None and platform.os != host_platform().os:
            raise Malformed("operating system is not supported")
        elif not source:
            raise Malformed("fromImage or fromSrc is required")
        elif query.text("repo"):
            name = Reference.parse(query.text("repo"))
            if name.digest:
                raise Malformed("cannot import digest reference")
            name = check_new_name(_tagged(name, tag).with_default_tag())
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


def check_new_name(name: Reference) -> Reference:
    """Return a name that an image may be given; raise `Malformed` for one that reads as an id."""
    if name.familiar_name in _ALGORITHMS:
        raise Malformed("refusing to create an ambiguous tag using digest algorithm as name")
    return name


def _platform(query: Query) -> Platform | None:
    text = query.text("platform")
    return Platform.from_json(text) if text else None


class ImageInspectRequest(msgspec.Struct, frozen=True):
    """An image to tell of.

    :ivar platform: what it has to be for; None for any.
    """

    image: str
    platform: Platform | None

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a platform that is none."""
        query = Query(envelope.query)
        platform = _platform(query) if version >= _INSPECTED_PLATFORM else None
        if platform is not None and query.boolean("manifests"):
            raise Malformed(
                "conflicting options: manifests and platform options cannot both be set"
            )
        return cls(args[0], platform)


class ImageHistoryRequest(msgspec.Struct, frozen=True):
    """An image whose making is asked for; `platform` is what it has to be for, or None."""

    image: str
    platform: Platform | None

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a platform that is none."""
        query = Query(envelope.query)
        return cls(args[0], _platform(query) if version >= _HISTORY_PLATFORM else None)


class ImageListRequest(msgspec.Struct, frozen=True):
    """Which images ImageList shall tell of; with `every` those too that are only in between."""

    filters: Filters
    every: bool
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
        every, shared = query.boolean("all"), query.boolean("shared-size")
        return cls(filters, every, shared, not (filters or every or shared))


class ImageTagRequest(msgspec.Struct, frozen=True):
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
        name = check_new_name(_tagged(name, query.text("tag")).with_default_tag())
        return cls(args[0], name)


class ImageDeleteRequest(msgspec.Struct, frozen=True):
    """An image or a name of one that shall go; `parents_too` what it alone was made of as well."""

    image: str
    force: bool
    parents_too: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        query = Query(envelope.query)
        return cls(args[0], query.boolean("force"), not query.boolean("noprune"))


class ImagePruneRequest(msgspec.Struct, frozen=True):
    """Which unused images shall go: those without a name, unless `every`."""

    filters: Filters
    every: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a filter that is none."""
        filters = Filters.parse(Query(envelope.query).text("filters"), _PRUNE_FILTERS)
        return cls(filters, not filters.truth("dangling", True))
