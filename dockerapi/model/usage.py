"""SystemDataUsage, typed: what is asked for, and how the answer is put together by version.

Source: the specification's SystemDataUsage and its history of versions. Rule: syntax is checked
here, meaning by the backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from dockerapi.model.envelope import Envelope
from dockerapi.model.malformed import Malformed
from dockerapi.model.query import Query
from dockerapi.model.versions import Version

IMAGE, CONTAINER, VOLUME, BUILD_CACHE = "image", "container", "volume", "build-cache"
_KINDS = (CONTAINER, IMAGE, VOLUME, BUILD_CACHE)
_TYPES_SINCE = Version(1, 42)
_NO_BUILDER_SIZE = Version(1, 40)
_SUMMED_SINCE = Version(1, 52)
_LISTS = {IMAGE: "Images", CONTAINER: "Containers", VOLUME: "Volumes", BUILD_CACHE: "BuildCache"}
_SUMS = {
    IMAGE: "ImageUsage",
    CONTAINER: "ContainerUsage",
    VOLUME: "VolumeUsage",
    BUILD_CACHE: "BuildCacheUsage",
}


class DataUsageRequest(msgspec.Struct, frozen=True):
    """SystemDataUsage.

    :ivar kinds: the kinds of objects to tell of.
    :ivar verbose: whether every single object is wanted, where the version has sums.
    """

    kinds: frozenset[str]
    verbose: bool
    version: Version

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a kind that there is not."""
        query = Query(envelope.query)
        kinds = query.all("type") if version >= _TYPES_SINCE else []
        for kind in kinds:
            if kind not in _KINDS:
                raise Malformed(f"unknown object type: {kind}")
        verbose = version >= _SUMMED_SINCE and query.boolean("verbose")
        return cls(frozenset(kinds or _KINDS), verbose, version)


class Usage(msgspec.Struct, frozen=True):
    """What objects of one kind take, in bytes.

    :ivar items: each object as the API tells of it.
    :ivar active: how many of them are in use.
    :ivar reclaimable: what removing those would free that are not.
    """

    items: Sequence[Mapping[str, Any]] = ()
    active: int = 0
    total: int = 0
    reclaimable: int = 0

    def sums(self) -> dict[str, Any]:
        """Return the sums, without those that are zero, and the objects."""
        sums: dict[str, Any] = {
            "ActiveCount": self.active,
            "TotalCount": len(self.items),
            "Reclaimable": self.reclaimable,
            "TotalSize": self.total,
            "Items": list(self.items),
        }
        return {name: value for name, value in sums.items() if value}


def document(request: DataUsageRequest, usages: Mapping[str, Usage]) -> dict[str, Any]:
    """Return the answer; `usages` has every kind that `request` asks for."""
    answer: dict[str, Any] = {}
    # The specification ends this with 1.52, and has objects beside sums with `verbose` alone;
    # current dockerds tell both.
    if not request.verbose:
        images = usages.get(IMAGE)
        answer["LayersSize"] = images.total if images is not None else 0
        for kind, name in _LISTS.items():
            usage = usages.get(kind)
            answer[name] = None if usage is None else list(usage.items)
        if request.version < _NO_BUILDER_SIZE:
            answer["BuilderSize"] = 0
    if request.version >= _SUMMED_SINCE:
        for kind, name in _SUMS.items():
            if kind in usages:
                answer[name] = usages[kind].sums()
    return answer
