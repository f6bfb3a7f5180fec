"""What a job of an API operation may answer.

Rule: an answer says what to send, never how; streams are written by `serve`, which the API calls
once, after the head has gone out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from dockerapi.wire.duplex import Duplex, Sink

Headers = Sequence[tuple[bytes, bytes]]


class Encoded(msgspec.Struct, frozen=True):
    """JSON that is already encoded (for what is served from memory)."""

    body: bytes


class Stream(msgspec.Struct, frozen=True):
    """A body that is written while it is made.

    `serve` writes to the sink and returns when all is written (the API then ends the body); it is
    cancelled when the client leaves. An error it raises goes into the stream as the operation
    defines (`error_lines`: a last JSON line ``{"errorDetail": ..., "error": ...}``), or else
    aborts the connection.

    :ivar length: the body's length in bytes where it is known before.
    """

    serve: Callable[[Sink], Awaitable[None]]
    content_type: str = "application/json"
    headers: Headers = ()
    status: int = 200
    length: int | None = None
    error_lines: bool = False


class Hijack(msgspec.Struct, frozen=True):
    """The connection itself, from here on a raw stream in both directions.

    The API sends the head in a write of its own, then calls `serve` with the client's side. When
    `serve` returns, what is unsent is flushed and the connection ends. Without `status` the API
    answers as dockerd does: 101 UPGRADED to ``Upgrade: tcp``, else 200; with it, `status`,
    `reason` and `headers` go out as they are (a forwarding engine's answer).
    """

    serve: Callable[[Duplex], Awaitable[None]]
    content_type: str = "application/vnd.docker.raw-stream"
    status: int | None = None
    reason: str | None = None
    headers: Headers = ()


class Bare(msgspec.Struct, frozen=True):
    """No body, but headers besides those that every answer has."""

    headers: Headers = ()


class Response(msgspec.Struct, frozen=True):
    """An answer in HTTP's own terms, sent as it is (a forwarding engine's, or a bare HEAD).

    :ivar body: the bytes, or what writes them.
    :ivar length: the body's length in bytes where it is known before (`Content-Length` is then
        not among `headers`); for HEAD, what the length would be.
    """

    status: int
    headers: Headers = ()
    body: bytes | Callable[[Sink], Awaitable[None]] = b""
    reason: str | None = None
    length: int | None = None


#: None is the operation's status without a body; anything not listed here is encoded as JSON.
Answer = None | Encoded | Stream | Hijack | Bare | Response | Any
