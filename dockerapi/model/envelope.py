"""A request as it came: what a forwarding engine passes on untouched.

Rule: nothing here is decoded beyond the split into parts; meaning belongs to the typed requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dockerapi.model.malformed import Malformed
from dockerapi.wire.duplex import CHUNK, Source

#: The longest JSON body that is read into memory, in bytes.
JSON_LIMIT = 4 * 1024 * 1024


class EmptySource:
    """A source that is at its end."""

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return `b""`."""
        return b""

    def abort(self, reason: str) -> None:
        """Do nothing: there is nothing to give up."""


class Envelope(msgspec.Struct, frozen=True):
    """One request of the API.

    :ivar method: as on the wire, as in ``POST``.
    :ivar path: the path without its version, still percent-encoded, as in ``/images/a%2Fb/json``.
    :ivar query: the query string, as it came, without the question mark.
    :ivar headers: names as sent and values, in order.
    :ivar body: the body as a stream; at its end when there is none.
    :ivar length: the body's announced length in bytes; None when it is chunked; 0 without a body.
    """

    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: Source = msgspec.field(default_factory=EmptySource)
    length: int | None = 0

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None

    async def read_json(self) -> bytes:
        """Return the whole body, which is to be JSON, perhaps none at all.

        Raises `Malformed` where it is not told to be JSON, and where it is too long. A request that
        has no headers at all is one of this process itself, which need not tell.
        """
        given = self.header(b"content-type") or b""
        if not given and (self.length == 0 or not self.headers):
            return await self.read()
        if not given.partition(b";")[0].strip():
            raise Malformed(
                f"malformed Content-Type header ({given.decode('latin-1')}): mime: no media type"
            )
        if given.partition(b";")[0].strip().lower() != b"application/json":
            raise Malformed(
                f"unsupported Content-Type header ({given.decode('latin-1')}): "
                "must be 'application/json'"
            )
        return await self.read()

    async def read(self, limit: int = JSON_LIMIT) -> bytes:
        """Return the whole body; raise `Malformed` when it is longer than `limit` bytes."""
        if self.length is not None and self.length > limit:
            self.body.abort("too long")
            raise Malformed(f"request body is larger than {limit} bytes")
        parts: list[bytes] = []
        size = 0
        while chunk := await self.body.read():
            size += len(chunk)
            if size > limit:
                self.body.abort("too long")
                raise Malformed(f"request body is larger than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)
