"""What a log driver sends: messages out of the spool, and whose they are.

Rule: pure; a message is a line without its end, or 16 KiB of a longer one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from dockerapi.local.containers.logs.spool.lines import KINDS, STAMP, TEXT, Lines
from dockerapi.local.containers.logs.spool.times import Times


class Message(msgspec.Struct, frozen=True):
    """A line of a container's output.

    :ivar time: nanoseconds since 1970.
    :ivar stream: 1 or 2.
    :ivar whole: False where more of the line follows.
    """

    time: int
    stream: int
    text: bytes
    whole: bool = True

    @property
    def source(self) -> str:
        """The stream's name."""
        return "stdout" if self.stream == 1 else "stderr"

    @property
    def severity(self) -> int:
        """The severity as of syslog: an error on standard error, else information."""
        return 6 if self.stream == 1 else 3


class Origin(msgspec.Struct, frozen=True):
    """The container that messages are of.

    :ivar name: without a slash.
    :ivar tag: what the option `tag` gives.
    :ivar attributes: the chosen labels and environment.
    """

    id: str
    name: str
    image: str
    image_name: str
    command: str
    created_at: int
    hostname: str
    tag: str
    attributes: Mapping[str, str]


class Undelivered(Exception):
    """The receiver cannot be reached now; the text says why."""


class Driver(Protocol):
    """Sends messages to a receiver."""

    async def send(self, messages: Sequence[Message]) -> None:
        """Send `messages`, connecting first where need be.

        Raises `Undelivered`; the caller tries again with all of them, later.
        """
        ...

    def close(self) -> None:
        """Leave the receiver; `send` connects again."""
        ...


class Messages:
    """Takes a log in pieces and gives its messages."""

    def __init__(self) -> None:
        self._lines = Lines(frozenset({1, 2}), gather=True)
        self._times = Times()

    @property
    def loose(self) -> int | None:
        """How many bytes of the last piece were not given; None for more than those."""
        return self._lines.loose

    def feed(self, data: bytes) -> list[Message]:
        """Take the log's next bytes and return the messages that they end."""
        return self._messages(*self._lines.feed(data))

    def finish(self) -> list[Message]:
        """Return what is left; there is no more."""
        return self._messages(*self._lines.finish())

    def _messages(self, lines: list[bytes], kinds: list[bytes]) -> list[Message]:
        return [
            Message(self._times.nanoseconds(line[:STAMP]), stream, line[TEXT:], whole)
            for line, (stream, whole) in zip(lines, map(KINDS.__getitem__, kinds), strict=True)
        ]
