"""Requests of the tag Volume, typed.

Source: the specification's operations Volume*; texts of syntax errors as dockerd's. Rule: syntax is
checked here, meaning by the backend.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Self

import msgspec
from msgspec import Struct

from dockerapi.model.decode import decode_json
from dockerapi.model.envelope import Envelope
from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed
from dockerapi.model.query import Query
from dockerapi.model.versions import Version

#: From here on there are cluster volumes, and prune spares volumes that have a name.
CLUSTER_VOLUMES = Version(1, 42)
_LIST_FILTERS = ("dangling", "driver", "label", "name")
_PRUNE_FILTERS = ("label", "label!")


class VolumeCreateBody(Struct, rename="pascal"):
    """The body of VolumeCreate."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None


class VolumeCreateRequest(msgspec.Struct, frozen=True):
    """VolumeCreate."""

    body: VolumeCreateBody
    version: Version

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a body that is none."""
        received = await envelope.read_json()
        body = decode_json(received, VolumeCreateBody) if received else VolumeCreateBody()
        return cls(body, version)


class VolumeRequest(msgspec.Struct, frozen=True):
    """An operation that says nothing but which volume."""

    volume: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0])


class VolumeDeleteRequest(msgspec.Struct, frozen=True):
    """VolumeDelete; with `force` a volume that is missing is no error."""

    volume: str
    force: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0], Query(envelope.query).boolean("force"))


class VolumeListRequest(msgspec.Struct, frozen=True):
    """VolumeList.

    :ivar dangling: whether only volumes are wanted that no container has, or only such that one
        has; None for both.
    """

    filters: Filters
    dangling: bool | None

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for filters that there are not."""
        filters = Filters.parse(Query(envelope.query).text("filters"), _LIST_FILTERS)
        return cls(filters, _truth(filters, "dangling"))


class VolumePruneRequest(msgspec.Struct, frozen=True):
    """VolumePrune; `named` takes volumes that have a name along."""

    filters: Filters
    named: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for filters that there are not."""
        spares = version >= CLUSTER_VOLUMES
        allowed: Collection[str] = (*_PRUNE_FILTERS, "all") if spares else _PRUNE_FILTERS
        filters = Filters.parse(Query(envelope.query).text("filters"), allowed)
        return cls(filters, not spares or bool(_truth(filters, "all")))


def _truth(filters: Filters, name: str) -> bool | None:
    """Return the truth value that the filter `name` wants; None where it is unset.

    Raises `Malformed` where it is none, or both.
    """
    wanted = filters.get(name)
    if not wanted:
        return None
    true, false = ({"1", "true"} & set(wanted)), ({"0", "false"} & set(wanted))
    if bool(true) == bool(false):
        raise Malformed(f"invalid filter '{name}=[{' '.join(wanted)}]'")
    return bool(true)
