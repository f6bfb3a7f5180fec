"""Heads of answers as bytes.

Rule: nothing that a handler passes can end a line early (response splitting is a ValueError).
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from dockerapi.http.date import date_line
from dockerapi.http.interfaces import HeaderList

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
#: Statuses whose answers have no body (RFC 9110, section 6.4.1).
BODILESS = frozenset((101, 204, 304))


class Fields(msgspec.Struct, frozen=True):
    """Header fields as bytes, with what they say about framing.

    :ivar lines: the fields, each with its CR LF.
    :ivar length: whether Content-Length is among them.
    :ivar date: whether Date is.
    :ivar close: whether they say ``Connection: close``.
    """

    lines: bytes
    length: bool
    date: bool
    close: bool


#: Fields rendered before, for handlers that pass the same tuple each time.
_rendered: dict[HeaderList, Fields] = {}
_RENDERED_AT_MOST = 256


def render(headers: HeaderList) -> Fields:
    """Return `headers` as bytes; raises ValueError where a name or value has a line's end in it."""
    remember = type(headers) is tuple
    if remember:
        found = _rendered.get(headers)
        if found is not None:
            return found
    lines = b"".join([b"%b: %b\r\n" % field for field in headers])
    if not lines.count(b"\n") == lines.count(b"\r") == len(headers) or b"\0" in lines:
        raise ValueError("a header with a line's end or NUL in it")
    names = {name.lower(): value for name, value in headers}
    fields = Fields(
        lines,
        b"content-length" in names,
        b"date" in names,
        names.get(b"connection", b"").lower() == b"close",
    )
    if remember:
        if len(_rendered) >= _RENDERED_AT_MOST:
            _rendered.clear()
        _rendered[headers] = fields
    return fields


def status_line(status: int, reason: bytes | None) -> bytes:
    """Return the status line with `reason`, or the standard phrase.

    Raises `ValueError` where `reason` could end the line.
    """
    if reason is None:
        return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    if b"\r" in reason or b"\n" in reason:
        raise ValueError("a reason phrase with a line's end in it")
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


def render_error(status: int, message: str) -> bytes:
    """Return a whole answer that refuses a request and announces the connection's end."""
    body = msgspec.json.encode({"message": message}) + b"\n"
    return (
        status_line(status, None)
        + b"Content-Type: application/json\r\n"
        + date_line()
        + b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
    )
