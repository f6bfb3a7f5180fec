"""One request and its answer on one connection, or the raw stream that the answer turned it into.

Rule: the request's body and the answer flow independently; whichever side breaks off takes the
connection with it, and an answer that broke off never looks complete.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from dockerapi.model.envelope import EmptySource
from dockerapi.upstream.connection import READ, Connection
from dockerapi.upstream.inbox import Inbox
from dockerapi.wire.duplex import Source, StreamAborted
from dockerapi.wire.httpbody import (
    LAST_CHUNK,
    BadBody,
    BodyDecoder,
    EndlessDecoder,
    answer_decoder,
    chunk_head,
)
from dockerapi.wire.httphead import AnswerHead, BadHead, HeadReader, request_head

#: How long a body that expects ``100 Continue`` waits for it, in seconds (as Go's client).
CONTINUE_TIMEOUT = 1.0


class Request(msgspec.Struct, frozen=True):
    """What is sent upstream.

    :ivar headers: all but those of the body's framing, which `length` decides.
    :ivar length: the body's length in bytes, 0 without one, None when it is not known.
    :ivar hijacks: whether the answer may turn the connection into a raw stream.
    :ivar expects: whether the body waits for ``100 Continue``.
    """

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: Source = msgspec.field(default_factory=EmptySource)
    length: int | None = 0
    hijacks: bool = False
    expects: bool = False

    @property
    def replayable(self) -> bool:
        """Whether it may be sent twice (RFC 9110 §9.2.1: safe methods), as it has no body."""
        return self.length == 0 and self.method in (b"GET", b"HEAD", b"OPTIONS")

    def head(self) -> bytes:
        """Return the head's bytes; raise `BadHead` for what cannot be sent."""
        headers = list(self.headers)
        if self.length is None:
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif self.length or self.method not in (b"GET", b"HEAD", b"OPTIONS"):
            headers.append((b"Content-Length", b"%d" % self.length))
        if self.expects:
            headers.append((b"Expect", b"100-continue"))
        return request_head(self.method, self.target, headers)


class Exchange:
    """A request under way; the answer's body is read from it.

    :ivar head: the answer's head, once it came.
    :ivar raw: whether the connection is a raw stream from here on.
    :ivar complete: whether the whole answer has arrived.
    :ivar on_lost: called when a raw stream's connection has ended in both directions.
    :ivar failure: why it failed; empty while it has not.
    :ivar client_left: whether it failed because the request's body broke off.
    """

    def __init__(self, connection: Connection, request: Request) -> None:
        self.head: AnswerHead | None = None
        self.raw = False
        self.complete = False
        self.failure = ""
        self.client_left = False
        self.connection = connection
        self._request = request
        self._inbox = Inbox(connection.pause_reading, connection.resume_reading)
        self._reader = HeadReader()
        self._decoder: BodyDecoder | None = None
        self._answered: Deferred[None] | None = None
        self._continued: Deferred[bool] | None = None
        self._sending: Deferred[None] | None = None
        self._sent = False
        self.on_lost: Callable[[], None] = _nothing
        connection.exchange = self

    @property
    def stale(self) -> bool:
        """Whether it failed without an answer's first byte on a connection that had been idle."""
        return self.connection.reused and self.head is None and self._reader.empty

    def send(self, head: bytes) -> None:
        """Begin to send the request, whose head is `head`."""
        self.connection.write(head)
        if self._request.length == 0:
            self._sent = True
        else:
            self._sending = Deferred.fromCoroutine(self._send_body())
            self._sending.addErrback(self._send_failed)

    async def wait(self) -> None:
        """Wait until the answer's head has come, or `failure` says why it never will."""
        if self.head is None and not self.failure:
            self._answered = Deferred()
            await self._answered

    async def read(self, limit: int = READ) -> bytes:
        """Return the next bytes of the answer's body (see `Source.read`)."""
        return await self._inbox.read(limit)

    def take(self) -> bytes:
        """Return what has arrived of the answer's body and was not read."""
        return self._inbox.take()

    def abort(self, reason: str) -> None:
        """Give the exchange up: the connection closes, which tells the upstream."""
        if self.connection.exchange is self:
            self._stop_sending()
            self.connection.exchange = None
            self.connection.abort()
        self._fail(reason)
        self._inbox.drop(reason)

    async def sent(self) -> None:
        """Wait until the request's body has gone out; before a raw stream begins."""
        if self._sending is not None and not self._sent:
            await self._sending

    def finish_raw(self) -> None:
        """Close the raw stream after both directions have ended."""
        self.connection.exchange = None
        self.connection.close()

    def received(self, data: bytes) -> None:
        """Take what the upstream sent."""
        try:
            if self._decoder is not None:
                self._take_body(self._decoder, data)
                return
            taken = self._take_head(data)
            if taken is not None:
                self._take_body(*taken)
                self._tell_answered()
        except (BadHead, BadBody) as error:
            self._break(f"the upstream does not speak HTTP/1.1: {error}")

    def input_ended(self) -> None:
        """Learn that the upstream says no more."""
        if self._decoder is not None and self._decoder.ends_with_connection:
            self._inbox.end()
            if not self.raw:
                self._finish(clean=False)
        else:
            self._break("the upstream closed the connection in mid-answer")

    def connection_lost(self, reason: str) -> None:
        """Learn that the connection has ended; a raw stream has no end but this."""
        self._stop_sending()
        if self.raw:
            self._inbox.end()
            self.on_lost()
        self._fail(f"the upstream broke off: {reason}")

    async def _send_body(self) -> None:
        length, body, connection = self._request.length, self._request.body, self.connection
        if self._request.expects and not await self._may_continue():
            return
        sent = 0
        while length is None or sent < length:
            data = await body.read(READ)
            if not data:
                break
            sent += len(data)
            if length is None:
                connection.write_all((chunk_head(len(data)), data, b"\r\n"))
            elif sent > length:
                raise StreamAborted("a body that is longer than announced")
            else:
                connection.write(data)
            if not await connection.room():
                return
        if length is None:
            connection.write(LAST_CHUNK)
        elif sent < length:
            raise StreamAborted("a body that is shorter than announced")
        self._sent = True

    async def _may_continue(self) -> bool:
        """Wait for ``100 Continue`` (or `CONTINUE_TIMEOUT`); False when the answer came first."""
        if self.head is not None:
            return False
        self._continued = Deferred()
        timer = self.connection.clock.callLater(CONTINUE_TIMEOUT, self._tell_continue, True)
        try:
            return await self._continued
        finally:
            self._continued = None
            if timer.active():
                timer.cancel()

    def _tell_continue(self, go_on: bool) -> None:
        continued, self._continued = self._continued, None
        if continued is not None and not continued.called:
            continued.callback(go_on)

    def _send_failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        self.client_left = failure.check(StreamAborted) is not None
        self._break(f"the request's body broke off: {failure.getErrorMessage()}")

    def _stop_sending(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None and not sending.called:
            sending.cancel()

    def _take_head(self, data: bytes) -> tuple[BodyDecoder, bytes] | None:
        """Take `data`; once the final head is complete, return what decodes the rest, and that."""
        while self._reader.feed(data):
            head, data = self._reader.head, self._reader.rest
            assert head is not None
            self._reader = HeadReader()
            if head.status < 200 and head.status != 101:
                if head.status == 100:
                    self._tell_continue(True)
                continue
            self._decoder = self._decode(head)
            self.head = head
            self._tell_continue(False)
            return self._decoder, data
        return None

    def _decode(self, head: AnswerHead) -> BodyDecoder:
        """Return the decoder for what follows `head`, and see whether it is a raw stream."""
        framed = head.values(b"content-length") or head.values(b"transfer-encoding")
        if head.status == 101:
            if not self._request.hijacks:
                raise BadHead("101 to a request that does not switch protocols")
            self.raw = True
        elif self._request.hijacks and head.status == 200 and not framed and head.minor == 1:
            self.raw = True
        return EndlessDecoder() if self.raw else answer_decoder(self._request.method, head)

    def _take_body(self, decoder: BodyDecoder, data: bytes) -> None:
        if data:
            self._inbox.put(decoder.feed(data))
        if decoder.finished:
            assert self.head is not None
            self._inbox.end()
            self._finish(clean=self._sent and not decoder.rest and self.head.keeps_alive())

    def _finish(self, *, clean: bool) -> None:
        """Let go of the connection, since the answer has arrived."""
        self.complete = True
        if self.connection.exchange is self:
            self._stop_sending()
            self.connection.release(clean=clean)

    def _break(self, reason: str) -> None:
        """Fail, and close the connection: nothing more can be right on it."""
        if self.connection.exchange is self:
            self._stop_sending()
            self.connection.exchange = None
            self.connection.abort()
        self._fail(reason)

    def _fail(self, reason: str) -> None:
        if not self.failure and not self.complete:
            self.failure = reason
            self._inbox.fail(reason)
            self._tell_continue(False)
            self._tell_answered()

    def _tell_answered(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.called:
            answered.callback(None)


def _nothing() -> None:
    """Do nothing."""
