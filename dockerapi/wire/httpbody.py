"""The framing of HTTP/1.1 bodies at the client's end: chunked, with a length, or to the end.

Source: RFC 9112 §6 and §7. Rule: pure; a decoder is fed what comes, returns what is body, and holds
no more than an unfinished line.
"""

from __future__ import annotations

import re
from typing import Protocol

from dockerapi.wire.httphead import AnswerHead, tokens

#: What ends a chunked body.
LAST_CHUNK = b"0\r\n\r\n"
#: The longest line of a chunk's size with its extensions, and all trailers together, in bytes.
LINE_LIMIT = 16 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


class BadBody(ValueError):
    """A body whose framing HTTP/1.1 does not allow; its text says what is wrong, for a log."""


class BodyDecoder(Protocol):
    """Takes the bytes after a head and returns those of the body.

    :ivar finished: whether the body is complete; `rest` then is what came after it.
    :ivar ends_with_connection: whether the connection's end is the body's regular end.
    """

    finished: bool
    rest: bytes
    ends_with_connection: bool

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body in `data`; raise `BadBody` for broken framing."""
        ...


class LengthDecoder:
    """A body of `length` bytes."""

    ends_with_connection = False

    def __init__(self, length: int) -> None:
        self.finished = length == 0
        self.rest = b""
        self._left = length

    def feed(self, data: bytes) -> bytes:
        """Return what of `data` is body."""
        if len(data) >= self._left:
            self.finished = True
            data, self.rest = data[: self._left], self.rest + data[self._left :]
        self._left -= len(data)
        return data


class EndlessDecoder:
    """A body that ends with its connection."""

    ends_with_connection = True
    finished = False
    rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return `data`: all of it is body."""
        return data


class ChunkedDecoder:
    """A body in chunks; extensions and trailers are dropped."""

    ends_with_connection = False

    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        self._left = 0
        self._line = b""
        self._after_data = False
        self._trailing = False
        self._trailers = 0

    def feed(self, data: bytes) -> bytes:
        """Return what of `data` is body, of as many chunks as it holds."""
        if self.finished:
            self.rest += data
            return b""
        if self._line:
            data, self._line = self._line + data, b""
        parts: list[bytes] = []
        position, end = 0, len(data)
        while position < end and not self.finished:
            if self._left:
                part = data[position : position + self._left]
                parts.append(part)
                position += len(part)
                self._left -= len(part)
                self._after_data = True
                continue
            newline = data.find(b"\r\n", position)
            if newline < 0:
                self._keep(data[position:])
                position = end
            else:
                self._take_line(data[position:newline])
                position = newline + 2
        self.rest = data[position:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _keep(self, line: bytes) -> None:
        """Hold an unfinished line, unless it already cannot become a good one."""
        if self._after_data and line != b"\r":
            raise BadBody("a chunk that is longer than its size")
        if len(line) + self._trailers > LINE_LIMIT:
            raise BadBody(f"a line of more than {LINE_LIMIT} bytes")
        self._line = line

    def _take_line(self, line: bytes) -> None:
        if self._after_data:
            if line:
                raise BadBody("a chunk that is longer than its size")
            self._after_data = False
        elif self._trailing:
            self._trailers += len(line)
            if self._trailers > LINE_LIMIT:
                raise BadBody(f"trailers of more than {LINE_LIMIT} bytes")
            self.finished = not line
        else:
            match = _SIZE.fullmatch(line) if len(line) <= LINE_LIMIT else None
            if match is None:
                raise BadBody(f"not the size of a chunk: {line[:40]!r}")
            self._left = int(match[1], 16)
            self._trailing = self._left == 0


def chunk_head(length: int) -> bytes:
    """Return what comes before a chunk of `length` (not 0) bytes; after it comes CRLF."""
    return b"%x\r\n" % length


def answer_decoder(method: bytes, head: AnswerHead) -> BodyDecoder:
    """Return the decoder for the body of an answer to `method` (RFC 9112 §6.3).

    Raises `BadBody` when the head frames its body in a way that can be read in two ways.
    """
    if method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        return LengthDecoder(0)
    codings = head.values(b"transfer-encoding")
    lengths = head.values(b"content-length")
    if codings:
        if lengths or len(codings) > 1 or tokens(codings) != {b"chunked"} or head.minor == 0:
            raise BadBody("a Transfer-Encoding that is not just chunked")
        return ChunkedDecoder()
    if lengths:
        return LengthDecoder(parse_length(lengths))
    return EndlessDecoder()


def parse_length(values: list[bytes]) -> int:
    """Return the one length that the values of Content-Length say; raise `BadBody`."""
    value = values[0]
    if any(other != value for other in values) or not value.isdigit() or len(value) > 18:
        raise BadBody(f"not a Content-Length: {b', '.join(values)[:40]!r}")
    return int(value)
