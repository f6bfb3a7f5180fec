"""How much of a connection is read at once.

Rule: much only while a large body comes, since a read takes its memory whether it is filled or not.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection

#: What is read at once of a large body, in bytes: about what a unix socket holds.
_MUCH = 1 << 18
#: From this length on a body is a large one.
_LARGE = 1 << 16


def size_reads(transport: Any, length: int | None) -> None:
    """Read much at once where a body has a large `length`, or (None) one that is not known."""
    if isinstance(transport, Connection):
        if length is None or length > _LARGE:
            transport.bufferSize = _MUCH
        else:
            transport.bufferSize = Connection.bufferSize
