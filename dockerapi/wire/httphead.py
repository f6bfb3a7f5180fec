"""Heads of HTTP/1.1 messages at the client's end: requests written, answers read.

Source: RFC 9112 §2 to §5 and RFC 9110 §7.6.1 (what belongs to one connection only). Rule: pure;
what an answer's head may not hold is refused, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

Headers = Sequence[tuple[bytes, bytes]]

#: The longest head of an answer that is read, in bytes.
HEAD_LIMIT = 64 * 1024

_END = b"\r\n\r\n"
_STATUS_LINE = re.compile(rb"HTTP/(1)\.([01]) ([1-9][0-9][0-9])(?: ([^\r\n\0]*))?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[^\r\n\0]*")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)


class BadHead(ValueError):
    """A head that HTTP/1.1 does not allow; its text says what is wrong, for a log."""


class AnswerHead(msgspec.Struct, frozen=True):
    """The head of an answer.

    :ivar minor: the minor HTTP version, 0 or 1.
    :ivar reason: the reason phrase, as sent, perhaps empty.
    :ivar headers: names as sent and values without surrounding white space, in order.
    """

    minor: int
    status: int
    reason: bytes
    headers: Headers

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of the header `name` (lower case), in order."""
        return [value for key, value in self.headers if key.lower() == name]

    def keeps_alive(self) -> bool:
        """Tell whether the connection may serve another request after this one (RFC 9112 §9.3)."""
        options = tokens(self.values(b"connection"))
        if b"close" in options:
            return False
        return self.minor == 1 or b"keep-alive" in options


class HeadReader:
    """Collects bytes until a head is complete; then `head` is it and `rest` what follows it."""

    def __init__(self) -> None:
        self.head: AnswerHead | None = None
        self.rest = b""
        self._seen = b""

    @property
    def empty(self) -> bool:
        """Whether nothing has come yet."""
        return self.head is None and not self._seen

    def feed(self, data: bytes) -> bool:
        """Take `data` and tell whether the head is complete.

        Raises `BadHead` when it is malformed or longer than `HEAD_LIMIT`.
        """
        start = max(0, len(self._seen) - len(_END) + 1)
        seen = self._seen + data if self._seen else data
        end = seen.find(_END, start)
        if end > HEAD_LIMIT or (end < 0 and len(seen) > HEAD_LIMIT):
            raise BadHead(f"a head of more than {HEAD_LIMIT} bytes")
        if end < 0:
            self._seen = seen
            return False
        self.head = parse_answer_head(seen[:end])
        self.rest = seen[end + len(_END) :]
        self._seen = b""
        return True


def parse_answer_head(data: bytes) -> AnswerHead:
    """Read an answer's head, given without the empty line at its end; raise `BadHead`."""
    first, *lines = data.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise BadHead(f"not a status line: {first[:80]!r}")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadHead(f"not a header: {line[:80]!r}")
        headers.append((name, value))
    return AnswerHead(int(match[2]), int(match[3]), match[4] or b"", headers)


def request_head(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the bytes of a request's head.

    Raises `BadHead` for a method, target or header that cannot be sent: nothing that a client sent
    may become a second request here.
    """
    if not _NAME.fullmatch(method) or not _TARGET.fullmatch(target):
        raise BadHead(f"not a request line: {method[:20]!r} {target[:80]!r}")
    parts = [b"%b %b HTTP/1.1\r\n" % (method, target)]
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadHead(f"not a header: {name[:40]!r}")
        parts.append(b"%b: %b\r\n" % (name, value))
    parts.append(b"\r\n")
    return b"".join(parts)


def tokens(values: Iterable[bytes]) -> frozenset[bytes]:
    """Return the elements of comma-separated header values, in lower case."""
    return frozenset(
        element
        for value in values
        for part in value.split(b",")
        if (element := part.strip().lower())
    )


def end_to_end(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return `headers` without those that belong to one connection (RFC 9110 §7.6.1)."""
    named = tokens(value for name, value in headers if name.lower() == b"connection")
    dropped = _HOP_BY_HOP | named
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def upgrades_to(headers: Headers) -> bytes | None:
    """Return the protocol that the headers ask or agree to switch to, or None."""
    if b"upgrade" not in tokens(value for name, value in headers if name.lower() == b"connection"):
        return None
    return next((value for name, value in headers if name.lower() == b"upgrade"), None)
