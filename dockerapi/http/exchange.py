"""One request and its answer.

Rule: whatever its connection has come to, answering is safe: what nobody can receive is dropped,
and a stream that nobody can receive raises `StreamAborted` at its next write.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dockerapi.http.answer import BODILESS, Fields, render, status_line
from dockerapi.http.connection import Connection
from dockerapi.http.date import date_line
from dockerapi.http.head import Head
from dockerapi.http.hijack import Hijacked
from dockerapi.http.interfaces import HeaderList, Peer
from dockerapi.http.sink import AnswerSink, Framing
from dockerapi.wire.duplex import Duplex, Source

_log = Logger()


class HTTPExchange:
    """See `dockerapi.http.interfaces.Exchange`."""

    __slots__ = (
        "_channel",
        "_fields",
        "_keep_alive",
        "_on_done",
        "_on_gone",
        "body",
        "done",
        "gone",
        "head",
        "http_version",
        "length",
        "method",
        "peer",
        "sent",
        "status",
        "target",
    )

    def __init__(self, channel: Connection, head: Head, body: Source, peer: Peer) -> None:
        self._channel = channel
        self._fields = head.fields
        self._keep_alive = head.keep_alive
        self._on_gone: list[Callable[[], None]] = []
        self._on_done: list[Callable[[], None]] = []
        self.method = head.method
        self.target = head.target
        self.head: HeaderList = head.headers
        self.http_version = head.version
        self.length = head.length
        self.body = body
        self.peer = peer
        self.gone = False
        #: Whether the answer is finished or broken off.
        self.done = False
        self.status = 0
        self.sent = 0

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        return self._fields.get(name)

    def respond(
        self, status: int, headers: HeaderList, body: bytes = b"", reason: bytes | None = None
    ) -> None:
        """Send a whole answer in one write; see `Exchange.respond`."""
        fields = render(headers)
        line = status_line(status, reason)
        self._begin(status)
        if self.done:
            return
        channel = self._channel
        keep = self._keep_alive and not fields.close and channel.can_keep()
        parts = [line, fields.lines, self._general(fields, keep)]
        if status in BODILESS:
            body = b""
        elif not fields.length:
            parts.append(b"Content-Length: %d\r\n" % len(body))
        parts.append(b"\r\n")
        if self.method != b"HEAD":
            parts.append(body)
            self.sent = len(body)
        channel.send(b"".join(parts))
        channel.finish(self, keep)

    def stream(
        self,
        status: int,
        headers: HeaderList,
        *,
        length: int | None = None,
        reason: bytes | None = None,
    ) -> AnswerSink:
        """Send the head at once and return the body's sink; see `Exchange.stream`."""
        fields = render(headers)
        line = status_line(status, reason)
        if fields.length and length is None:
            length = next(
                int(value) for name, value in headers if name.lower() == b"content-length"
            )
        self._begin(status)
        keep = self._keep_alive and not fields.close
        framing = b""
        if self.method == b"HEAD" or status in BODILESS:
            mode = Framing.NONE
        elif length is not None:
            mode = Framing.LENGTH
        elif self.http_version == (1, 1):
            mode = Framing.CHUNKED
        else:
            mode, keep = Framing.CLOSE, False
        if status not in BODILESS:
            if length is not None and not fields.length:
                framing = b"Content-Length: %d\r\n" % length
            elif length is None and self.http_version == (1, 1):
                framing = b"Transfer-Encoding: chunked\r\n"
        sink = AnswerSink(self._channel, self, mode, length or 0, keep)
        if not self.done:
            self._channel.send(
                b"".join((line, fields.lines, self._general(fields, keep), framing, b"\r\n"))
            )
        return sink

    def hijack(self, status: int, headers: HeaderList, reason: bytes | None = None) -> Duplex:
        """Send the head by itself and return the connection; see `Exchange.hijack`."""
        head = status_line(status, reason) + render(headers).lines + b"\r\n"
        self._begin(status)
        if self.done:
            return Hijacked.broken(self._channel)
        return self._channel.hijack(self, head)

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once if the client leaves before the answer is finished."""
        if self.gone:
            callback()
        elif not self.done:
            self._on_gone.append(callback)

    def on_done(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once when the answer is finished or broken off."""
        if self.done:
            callback()
        else:
            self._on_done.append(callback)

    def mark_gone(self) -> None:
        """Say that the client has left (called by the channel)."""
        if not self.gone and not self.done:
            self.gone = True
            self._fire(self._on_gone)

    def mark_done(self) -> None:
        """Say that the answer is finished or broken off (called by the channel)."""
        if not self.done:
            self.done = True
            self._on_gone.clear()
            if self._on_done:
                self._fire(self._on_done)

    def _begin(self, status: int) -> None:
        if self.status:
            raise RuntimeError("the request has been answered already")
        self.status = status

    def _general(self, fields: Fields, keep: bool) -> bytes:
        date = b"" if fields.date else date_line()
        if not keep:
            return date if fields.close else date + b"Connection: close\r\n"
        if self.http_version == (1, 0):
            return date + b"Connection: keep-alive\r\n"
        return date

    def _fire(self, callbacks: list[Callable[[], None]]) -> None:
        while callbacks:
            callback = callbacks.pop(0)
            try:
                callback()
            except Exception:
                _log.failure("A callback of {target!a} failed", target=self.target)
