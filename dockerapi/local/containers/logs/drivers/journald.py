"""The log driver `journald`: systemd's journal of this host.

Source: systemd's "Native Journal Protocol"; dockerd's documentation of its fields. Rule: a field is
written with its length where it holds a newline, so that no text can make up fields.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dockerapi.local.containers.logs.drivers.message import Driver, Message, Origin
from dockerapi.local.containers.logs.drivers.sending import Datagrams
from dockerapi.model.timestamps import rfc3339

#: Where the journal listens.
SOCKET = Path("/run/systemd/journal/socket")
OPTIONS: frozenset[str] = frozenset()
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")


def check(_: Mapping[str, str]) -> None:
    """Nothing: it has no options of its own."""


def make(options: Mapping[str, str], origin: Origin, reactor: Any) -> Driver:
    """Return the driver of a container; raises ValueError where there is no journal."""
    if not SOCKET.exists():
        raise ValueError("journald is not enabled on this host")
    return _Journal(origin, Datagrams(str(SOCKET), reactor))


def field(name: str, value: bytes) -> bytes:
    """Return one field of an entry."""
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def field_name(text: str) -> str:
    """Return `text` as a field's name: capitals, digits and underscores, none of these first."""
    return _NOT_IN_NAMES.sub("_", text.upper()).lstrip("_")


class _Journal:
    def __init__(self, origin: Origin, datagrams: Datagrams) -> None:
        self._datagrams = datagrams
        fields = {
            "CONTAINER_ID": origin.id[:12],
            "CONTAINER_ID_FULL": origin.id,
            "CONTAINER_NAME": origin.name,
            "CONTAINER_TAG": origin.tag,
            "IMAGE_NAME": origin.image_name,
            "SYSLOG_IDENTIFIER": origin.tag,
        }
        for name, value in origin.attributes.items():
            fields.setdefault(field_name(name), value)
        self._fields = b"".join(
            field(name, value.encode("utf-8", "surrogateescape"))
            for name, value in fields.items()
            if name
        )

    async def send(self, messages: Sequence[Message]) -> None:
        await self._datagrams.send(b"".join(self._entry(message)) for message in messages)

    def close(self) -> None:
        self._datagrams.close()

    def _entry(self, message: Message) -> Iterator[bytes]:
        yield field("MESSAGE", message.text)
        yield field("PRIORITY", b"%d" % message.severity)
        yield field("SYSLOG_TIMESTAMP", rfc3339(message.time).encode())
        if not message.whole:
            yield field("CONTAINER_PARTIAL_MESSAGE", b"true")
        yield self._fields
