"""Requests that take part in a container's streams: attach, logs, resize.

Source: ContainerAttach, ContainerAttachWebsocket, ContainerLogs, ContainerResize and ExecResize of
the specification. Rule: syntax is checked here, meaning by the backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec

from dockerapi.model.envelope import Envelope
from dockerapi.model.malformed import Malformed
from dockerapi.model.query import Query
from dockerapi.model.timestamps import parse_unix
from dockerapi.model.versions import Version

#: From here on framed streams have a media type of their own.
_MULTIPLEXED = Version(1, 42)

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"


def stream_type(version: Version, *, framed: bool) -> str:
    """Return the media type of a stream that is framed or not."""
    return MULTIPLEXED_STREAM if framed and version >= _MULTIPLEXED else RAW_STREAM


class AttachRequest(msgspec.Struct, frozen=True):
    """ContainerAttach; `stream` follows what comes, `logs` begins with what was written."""

    container: str
    logs: bool
    stream: bool
    stdin: bool
    stdout: bool
    stderr: bool
    detach_keys: str
    version: Version

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        query = Query(envelope.query)
        return cls(
            args[0],
            query.boolean("logs"),
            query.boolean("stream"),
            query.boolean("stdin"),
            query.boolean("stdout"),
            query.boolean("stderr"),
            query.text("detachKeys"),
            version,
        )

    @property
    def outputs(self) -> frozenset[int]:
        """The wanted output streams, by number."""
        return _outputs(self.stdout, self.stderr)


class LogsRequest(msgspec.Struct, frozen=True):
    """ContainerLogs.

    :ivar since: nanoseconds since 1970, or None; `until` likewise.
    :ivar tail: how many lines of the end, or None for all.
    """

    container: str
    follow: bool
    stdout: bool
    stderr: bool
    since: int | None
    until: int | None
    timestamps: bool
    details: bool
    tail: int | None
    version: Version

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` where it wants no stream, and for bad times."""
        query = Query(envelope.query)
        stdout, stderr = query.boolean("stdout"), query.boolean("stderr")
        if not stdout and not stderr:
            raise Malformed("must specify at least one of 'stdout' or 'stderr'")
        return cls(
            args[0],
            query.boolean("follow"),
            stdout,
            stderr,
            _time(query, "since"),
            _time(query, "until"),
            query.boolean("timestamps"),
            query.boolean("details"),
            _tail(query.text("tail")),
            version,
        )

    @property
    def outputs(self) -> frozenset[int]:
        """The wanted output streams, by number."""
        return _outputs(self.stdout, self.stderr)


class ResizeRequest(msgspec.Struct, frozen=True):
    """ContainerResize and ExecResize; `target` is the container or the exec."""

    target: str
    height: int
    width: int

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for sizes that are no numbers of 32 bits."""
        query = Query(envelope.query)
        return cls(args[0], _size(query, "height", "h"), _size(query, "width", "w"))


def _outputs(stdout: bool, stderr: bool) -> frozenset[int]:
    return frozenset(number for number, wanted in ((1, stdout), (2, stderr)) if wanted)


def _time(query: Query, name: str) -> int | None:
    text = query.text(name)
    # Clients send 0 for no limit.
    return parse_unix(name, text) or None if text else None


def _tail(text: str) -> int | None:
    # What is no number means all, as in dockerd.
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else None


def _size(query: Query, name: str, short: str) -> int:
    text = query.text(short)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise Malformed(f'invalid resize {name} "{text}": invalid syntax')
    if digits != text or len(text) > 20 or int(text) > 0xFFFFFFFF:
        raise Malformed(f'invalid resize {name} "{text}": value out of range')
    return int(text)
