"""What the HTTP layer offers to those above it.

Rule: the API speaks to a connection through these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from dockerapi.wire.duplex import Duplex, Sink, Source

HeaderList = Sequence[tuple[bytes, bytes]]


class Peer(msgspec.Struct, frozen=True):
    """The other end of a connection.

    :ivar listener: the host string of the listener that accepted it.
    :ivar kind: ``unix``, ``tcp`` or ``tls``.
    :ivar address: its address in text (``127.0.0.1:4711``); empty on unix sockets.
    :ivar pid: process id of a unix peer (SO_PEERCRED), and `uid`, `gid` likewise; else None.
    :ivar certificate: the subject of a verified client certificate (RFC 4514 text), or None.
    """

    listener: str
    kind: str
    address: str = ""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    certificate: str | None = None


class Exchange(Protocol):
    """One request and its answer, on one connection.

    Exactly one of `respond`, `stream` and `hijack` is called, once. The request class also is a
    Twisted `IRequest`, so that ordinary Klein and `twisted.web` resources can be served.
    """

    method: bytes
    #: The request target as on the wire, as in ``/v1.41/containers/json?all=1``.
    target: bytes
    #: Names as sent, values, in order.
    head: HeaderList
    http_version: tuple[int, int]
    body: Source
    #: The body's announced length in bytes, None when chunked, 0 without one.
    length: int | None
    peer: Peer
    #: Whether the client left before its answer was finished.
    gone: bool
    #: The status sent, 0 before; and the bytes of body sent so far.
    status: int
    sent: int

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        ...

    def respond(
        self, status: int, headers: HeaderList, body: bytes = b"", reason: bytes | None = None
    ) -> None:
        """Send a whole answer in one write. Content-Length is added where headers lack it.

        For HEAD, 204 and 304 no body is sent.
        """
        ...

    def stream(
        self,
        status: int,
        headers: HeaderList,
        *,
        length: int | None = None,
        reason: bytes | None = None,
    ) -> Sink:
        """Send the head at once and return the body's sink.

        The body is chunked, or `length` bytes, or ends with the connection (HTTP/1.0);
        `close_write` ends it, `abort` breaks the connection off.
        """
        ...

    def hijack(self, status: int, headers: HeaderList, reason: bytes | None = None) -> Duplex:
        """Send the head in a write of its own and return the connection as a raw stream.

        What the client sent after its head (and body) is read first. `close_write` half-closes;
        the connection ends when both sides have, or by `abort`.
        """
        ...

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once if the client leaves before the answer is finished."""
        ...

    def on_done(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the answer is finished or broken off."""
        ...
