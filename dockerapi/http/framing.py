"""Framing of bodies, both ways, without I/O.

Rule: a decoder gives the same payload however its input was split, and never reads past its body.
"""

from __future__ import annotations

import re
from typing import Protocol

from dockerapi.http.head import Refused
from dockerapi.http.limits import Limits

LAST_CHUNK = b"0\r\n\r\n"


class Decoder(Protocol):
    """Takes a body out of a connection's bytes."""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return the payload in `data`, and what follows the body, or None while it goes on.

        Raises `Refused` when the framing is broken.
        """
        ...

    def remaining(self) -> int | None:
        """Return how many bytes of payload are still to come, None when that is not known."""
        ...


class LengthDecoder:
    """A body of `length` bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See `Decoder`."""
        if len(data) < self._left:
            self._left -= len(data)
            return data, None
        left, self._left = self._left, 0
        return data[:left], data[left:]

    def remaining(self) -> int | None:
        """See `Decoder`."""
        return self._left


_SIZE_LINE, _DATA, _DATA_END, _TRAILER = range(4)
_TRAILER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_HEX = frozenset(b"0123456789abcdefABCDEF")


class ChunkedDecoder:
    """A chunked body (RFC 9112, section 7.1); extensions and trailers are dropped."""

    __slots__ = ("_held", "_left", "_limits", "_state", "_trailers")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state = _SIZE_LINE
        self._held = b""
        self._left = 0
        self._trailers = 0

    def remaining(self) -> int | None:
        """See `Decoder`."""
        return None

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See `Decoder`."""
        payload: list[bytes] = []
        if self._held:
            data = self._held + data
            self._held = b""
        at, size = 0, len(data)
        while at < size:
            if self._state == _DATA:
                part = data[at : at + self._left]
                payload.append(part)
                at += len(part)
                self._left -= len(part)
                if not self._left:
                    self._state = _DATA_END
                continue
            line, after = self._line(data, at)
            if line is None:
                self._held = data[at:]
                break
            at = after
            if self._take_line(line):
                return b"".join(payload), data[at:]
        return payload[0] if len(payload) == 1 else b"".join(payload), None

    def _line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """Return the line at `at` without its CR LF, and where the next begins."""
        limit = 0 if self._state == _DATA_END else self._limits.chunk_line
        feed = data.find(b"\n", at, at + limit + 2)
        line = data[at : len(data) if feed < 0 else feed]
        carriage = line.find(b"\r")
        if carriage >= 0 and carriage != len(line) - 1:
            raise Refused(400, "malformed chunked encoding")
        if len(line) - (carriage >= 0) > limit or (feed >= 0 and carriage < 0):
            raise Refused(400, "malformed chunked encoding")
        return (None, at) if feed < 0 else (line[:-1], feed + 1)

    def _take_line(self, line: bytes) -> bool:
        """Go on to the next state; return whether the body has ended."""
        if self._state == _DATA_END:
            self._state = _SIZE_LINE
        elif self._state == _TRAILER:
            self._trailers += len(line)
            if self._trailers > self._limits.trailers:
                raise Refused(400, "malformed chunked encoding: trailers too large")
            if line and not _TRAILER_LINE.fullmatch(line):
                raise Refused(400, "malformed chunked encoding: bad trailer")
            return not line
        else:
            size = line.partition(b";")[0].rstrip(b" \t")
            if not 0 < len(size) <= 15 or not _HEX.issuperset(size):
                raise Refused(400, "malformed chunked encoding: bad size")
            self._left = int(size, 16)
            self._state = _DATA if self._left else _TRAILER
        return False


def chunk(data: bytes) -> bytes:
    """Return `data` (not empty) as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
