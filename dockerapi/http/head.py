"""Request heads: cut out of the bytes, parsed by llhttp, checked more strictly than it does.

Rule: llhttp sees one whole head and nothing after it; what two servers could read differently is
refused (RFC 9112, sections 2 to 6 and 11.2).
"""

from __future__ import annotations

from contextlib import suppress

import httptools

from dockerapi.http.limits import Limits


class Refused(Exception):
    """A request that is not served: the status to answer with, and why in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


#: What a request line can begin with; CR and LF are refused with the line that they end.
_FIRST_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\r\n")


class HeadBuffer:
    """Bytes that wait to be read as heads; cuts off one head at a time."""

    __slots__ = ("_data", "_limits", "_line", "_lines", "_scanned")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._data = bytearray()
        self._scanned = self._line = self._lines = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        """Append what came from the client."""
        self._data += data

    def take_all(self) -> bytes:
        """Return all that waits, and forget it."""
        data = bytes(self._data)
        self._data.clear()
        self._scanned = self._line = self._lines = 0
        return data

    def next(self) -> bytes | None:
        """Return the next head with its empty line, or None until it is complete.

        Raises `Refused` for the first fault in the order of the bytes, however they were split.
        """
        data, limits = self._data, self._limits
        if not data:
            return None
        if not self._scanned:
            if data[0] not in _FIRST_BYTES:
                raise Refused(400, "malformed request: not a request line of HTTP/1.1")
            size = self._plain_head(data)
            if size:
                self._lines = 1
                return self._cut(size)
        while True:
            feed = data.find(b"\n", self._scanned)
            end = len(data) if feed < 0 else feed
            if end - self._line > limits.line:
                raise Refused(414, "URI too long") if not self._lines else self._too_large()
            if end >= limits.head:
                raise self._too_large()
            if feed < 0:
                self._scanned = end
                return None
            if feed == self._line or data[feed - 1] != 13:
                raise Refused(400, "malformed request: a line without CR LF")
            if feed - 1 == self._line:
                return self._cut(feed + 1)
            self._lines += 1
            if self._lines > limits.headers + 1:
                raise self._too_large()
            self._line = self._scanned = feed + 1

    def _plain_head(self, data: bytearray) -> int:
        """Return the size of a whole head that is plainly in order, else 0 (a short cut)."""
        size = data.find(b"\r\n\r\n") + 4
        if not 8 <= size <= self._limits.line or size > self._limits.head or data[0] == 13:
            return 0
        lines = data.count(b"\n", 0, size)
        if lines > self._limits.headers + 2 or lines != data.count(b"\r\n", 0, size):
            return 0
        return size

    def _cut(self, size: int) -> bytes:
        if not self._lines:
            raise Refused(400, "malformed request: no request line")
        head = bytes(memoryview(self._data)[:size])
        del self._data[:size]
        self._scanned = self._line = self._lines = 0
        return head

    @staticmethod
    def _too_large() -> Refused:
        return Refused(431, "request header fields too large")


class Head:
    """What one head says.

    :ivar length: the body's length in bytes, None when it is chunked.
    :ivar fields: the first value of each field, by lower-case name.
    :ivar keep_alive: whether the client is ready for another request.
    :ivar expects: whether it waits for ``100 Continue``.
    """

    __slots__ = (
        "expects",
        "fields",
        "headers",
        "keep_alive",
        "length",
        "method",
        "target",
        "version",
    )
    method: bytes
    target: bytes
    version: tuple[int, int]
    headers: list[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    length: int | None
    keep_alive: bool
    expects: bool

    def __init__(self) -> None:
        self.headers = []
        self.fields = {}
        self.length = 0
        self.expects = False

    def on_url(self, target: bytes) -> None:
        """Take the target (called by llhttp)."""
        self.target = target

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one field (called by llhttp)."""
        value = value.strip(b" \t")
        self.headers.append((name, value))
        lower = name.lower()
        if lower in self.fields:
            if lower in _SINGLE:
                raise Refused(400, f"malformed request: two {lower.decode()} headers")
        else:
            self.fields[lower] = value


#: Fields that two servers could read differently when they come twice.
_SINGLE = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"))
_VERSIONS = {b"HTTP/1.1\r": (1, 1), b"HTTP/1.0\r": (1, 0)}


def parse(data: bytes) -> Head:
    """Return what the head `data` (with its empty line) says; raises `Refused`."""
    words = data[: data.index(b"\n")].split(b" ")
    version = _VERSIONS.get(words[-1])
    if version is None or len(words) != 3:
        raise Refused(400, "malformed request: not a request line of HTTP/1.1")
    head = Head()
    parser = httptools.HttpRequestParser(head)
    try:
        # It says so where the head asks for an upgrade, and stops: there is no more for it to read.
        with suppress(httptools.HttpParserUpgrade):
            parser.feed_data(data)
    except httptools.HttpParserCallbackError as error:
        cause = error.__context__
        raise cause if isinstance(cause, Refused) else Refused(400, "malformed request") from None
    except httptools.HttpParserError as error:
        raise Refused(400, f"malformed request: {error}") from None
    head.method = words[0]
    head.version = version
    _check_target(head)
    _check_framing(head)
    fields = head.fields
    connection = fields.get(b"connection")
    if connection is None:
        head.keep_alive = version == (1, 1)
    else:
        options = _connection_options(head)
        head.keep_alive = b"close" not in options and (
            version == (1, 1) or b"keep-alive" in options
        )
    return head


def _connection_options(head: Head) -> set[bytes]:
    return {
        option.strip(b" \t").lower()
        for name, value in head.headers
        if name.lower() == b"connection"
        for option in value.split(b",")
    }


def _check_target(head: Head) -> None:
    """Refuse targets of other kinds, and a missing host; make an absolute target relative."""
    target = head.target
    host = head.fields.get(b"host")
    if host is None and head.version == (1, 1):
        raise Refused(400, "malformed request: missing required Host header")
    if head.method == b"CONNECT":
        raise Refused(400, "malformed request: CONNECT is not served")
    if not target.startswith(b"/") and not (target == b"*" and head.method == b"OPTIONS"):
        scheme, _, rest = target.partition(b"://")
        authority, slash, path = rest.partition(b"/")
        if scheme.lower() not in (b"http", b"https") or not authority or b"?" in authority:
            raise Refused(400, "malformed request: invalid target")
        if host is not None and authority.lower() != host.lower():
            raise Refused(400, "malformed request: target and Host header differ")
        head.target = b"/" + path if slash else b"/"
    if not head.target.isascii():
        raise Refused(400, "malformed request: invalid target")


def _check_framing(head: Head) -> None:
    """Read how the body is framed (RFC 9112, section 6.3), refusing all but the plain ways."""
    fields = head.fields
    length = fields.get(b"content-length")
    encoding = fields.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None:
            raise Refused(400, "malformed request: both Content-Length and Transfer-Encoding")
        if head.version != (1, 1) or encoding.lower() != b"chunked":
            raise Refused(400, "malformed request: unsupported transfer encoding")
        head.length = None
    elif length is not None:
        if not length.isdigit() or len(length) > 18:
            raise Refused(400, "malformed request: bad Content-Length")
        head.length = int(length)
    expect = fields.get(b"expect")
    if expect is not None and head.version == (1, 1):
        if expect.lower() != b"100-continue":
            raise Refused(417, "unsupported expectation")
        head.expects = head.length != 0
