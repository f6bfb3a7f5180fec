"""Requests of the tag Container, typed.

Source: the specification's operations Container*; texts of syntax errors as dockerd's. Rule: syntax
is checked here, meaning by the backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from dockerapi.model.containers import CreateBody, HostConfig
from dockerapi.model.createversions import PLATFORM, limit_create, limit_update
from dockerapi.model.decode import decode_json
from dockerapi.model.envelope import Envelope
from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform
from dockerapi.model.ports import matched_ports
from dockerapi.model.query import Query, parse_integer
from dockerapi.model.versions import Version

_LIST_FILTERS = (
    *("ancestor", "before", "exited", "expose", "health", "id", "is-task", "isolation", "label"),
    *("label!", "name", "network", "publish", "since", "status", "volume"),
)
_PRUNE_FILTERS = ("label", "label!", "until")
_STATES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
_HOST_PARTS = ("hostconfig", "networkingconfig")
_NO_BODY_OF_START = Version(1, 24)
_CONDITIONS = ("not-running", "next-exit", "removed")


class CreateRequest(msgspec.Struct, frozen=True):
    """ContainerCreate.

    :ivar name: the wanted name; empty for one that the engine chooses.
    :ivar platform: what the image has to be for; None for any.
    :ivar received: the body as it came.
    """

    name: str
    platform: Platform | None
    body: CreateBody
    received: bytes

    @property
    def is_empty(self) -> bool:
        """Whether the body says nothing of the container but how its host is to treat it."""
        members = decode_json(self.received, dict[str, object])
        return all(name.lower() in _HOST_PARTS for name in members)

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a body or a platform that is none."""
        query = Query(envelope.query)
        received = await envelope.read_json()
        body = decode_json(received, CreateBody)
        limit_create(body, version)
        wanted = query.text("platform") if version >= PLATFORM else ""
        platform = Platform.parse(wanted) if wanted else None
        return cls(query.text("name"), platform, body, received)


class ContainerRequest(msgspec.Struct, frozen=True):
    """An operation that says nothing but which container."""

    container: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0])


class StartRequest(msgspec.Struct, frozen=True):
    """ContainerStart.

    :ivar host: the host configuration that it is to have from now on, as early clients send it;
        None where it stays.
    """

    container: str
    host: HostConfig | None = None

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a configuration where there may be none."""
        length = envelope.length
        # No object that says something is shorter, and old clients send ``null``.
        if length is not None and length <= 7:
            return cls(args[0])
        if version >= _NO_BODY_OF_START:
            raise Malformed(
                "starting container with non-empty request body was deprecated "
                "since API v1.22 and removed in v1.24"
            )
        received = await envelope.read_json()
        if received.strip() in (b"", b"null"):
            return cls(args[0])
        return cls(args[0], decode_json(received, HostConfig))


class InspectRequest(msgspec.Struct, frozen=True):
    """ContainerInspect; `size` asks for the sizes of its layers."""

    container: str
    size: bool
    version: Version

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0], Query(envelope.query).boolean("size"), version)


class StopRequest(msgspec.Struct, frozen=True):
    """ContainerStop and ContainerRestart.

    :ivar signal: the signal to begin with; empty for the container's own.
    :ivar timeout: seconds until the container is killed; None for its own, -1 for no limit.
    """

    container: str
    signal: str
    timeout: int | None

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a time that is no number."""
        query = Query(envelope.query)
        timeout = query.integer("t") if query.text("t") else None
        return cls(args[0], query.text("signal") if version >= (1, 42) else "", timeout)


class KillRequest(msgspec.Struct, frozen=True):
    """ContainerKill; an empty `signal` is SIGKILL."""

    container: str
    signal: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0], Query(envelope.query).text("signal"))


class RenameRequest(msgspec.Struct, frozen=True):
    """ContainerRename."""

    container: str
    name: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0], Query(envelope.query).text("name"))


class WaitRequest(msgspec.Struct, frozen=True):
    """ContainerWait; `condition` is ``not-running``, ``next-exit`` or ``removed``."""

    container: str
    condition: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a condition that there is not."""
        condition = Query(envelope.query).text("condition")
        # Before 1.30 there were no conditions, and the answer's head came with its body.
        if version < (1, 30) or not condition:
            condition = "not-running"
        if condition not in _CONDITIONS:
            raise Malformed(f'invalid condition: "{condition}"')
        return cls(args[0], condition)


class DeleteRequest(msgspec.Struct, frozen=True):
    """ContainerDelete; `force` kills first, `volumes` takes anonymous volumes along."""

    container: str
    force: bool
    volumes: bool
    link: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        query = Query(envelope.query)
        return cls(args[0], query.boolean("force"), query.boolean("v"), query.boolean("link"))


class ListRequest(msgspec.Struct, frozen=True):
    """ContainerList.

    :ivar limit: how many of the newest, running or not; 0 for no limit.
    """

    all: bool
    limit: int
    size: bool
    filters: Filters
    version: Version
    key: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for filters that there are not."""
        query = Query(envelope.query)
        filters = Filters.parse(query.text("filters"), _LIST_FILTERS)
        for state in filters.get("status"):
            if state not in _STATES:
                raise Malformed(
                    f"invalid filter 'status={state}': invalid value for state ({state}): "
                    f"must be one of {', '.join(_STATES)}"
                )
        for code in filters.get("exited"):
            try:
                parse_integer(code)
            except Malformed as error:
                raise Malformed(f"invalid filter 'exited={code}': {error}") from None
        filters.truth("is-task", False)
        _check_ports(filters)
        return cls(
            query.boolean("all"),
            query.integer("limit"),
            query.boolean("size"),
            filters,
            version,
            f"{version}?{envelope.query}",
        )


def _check_ports(filters: Filters) -> None:
    for name in ("publish", "expose"):
        for text in filters.get(name):
            try:
                matched_ports(text)
            except Malformed as malformed:
                raise Malformed(
                    f"error while looking up for {name} {text}: {malformed.message}"
                ) from None


class PruneRequest(msgspec.Struct, frozen=True):
    """ContainerPrune."""

    filters: Filters

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for filters that there are not."""
        return cls(Filters.parse(Query(envelope.query).text("filters"), _PRUNE_FILTERS))


class TopRequest(msgspec.Struct, frozen=True):
    """ContainerTop; `arguments` are those of ps(1)."""

    container: str
    arguments: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0], Query(envelope.query).text("ps_args", "-ef"))


class UpdateRequest(msgspec.Struct, frozen=True):
    """ContainerUpdate; `changes` are `Resources` and a restart policy, what is unset stays."""

    container: str
    changes: HostConfig

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a body that is none."""
        body = await envelope.read_json()
        changes = decode_json(body, HostConfig) if body else HostConfig()
        limit_update(changes, version)
        return cls(args[0], changes)


class StatsRequest(msgspec.Struct, frozen=True):
    """ContainerStats; without `stream` one sample, and `one_shot` asks for none before it."""

    container: str
    stream: bool
    one_shot: bool

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a stream of one shot."""
        query = Query(envelope.query)
        stream, one_shot = query.boolean("stream", default=True), query.boolean("one-shot")
        if stream and one_shot:
            raise Malformed("cannot have stream=true and one-shot=true")
        return cls(args[0], stream, one_shot and version >= (1, 41))
