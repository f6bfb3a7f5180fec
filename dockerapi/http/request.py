"""The request that handlers get: an `Exchange` that also is Twisted's `IRequest`.

Rule: what only `twisted.web` and Klein need is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import Request as SiteRequest

from dockerapi.http.exchange import HTTPExchange
from dockerapi.http.sink import AnswerSink
from dockerapi.wire.duplex import CHUNK

_log = Logger()

#: Twisted's class without its types, which differ from what it does.
_SiteRequest: Any = SiteRequest


class Request(HTTPExchange, _SiteRequest):  # type: ignore[misc]
    """See `Exchange` and `twisted.web.iweb.IRequest`.

    Twisted's ``__init__`` is not called: its attributes are made here, lazily, and its methods
    that would reach for its own channel are replaced. Sessions are not served.
    """

    site = None
    #: Where a streamed answer goes, and the one write that may be the whole body.
    _sink: AnswerSink | None = None
    _held: bytes | None = None

    @property
    def uri(self) -> bytes:
        """The target, as Twisted calls it."""
        return self.target

    @cached_property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:
        """The query's values by name."""
        return parse_qs(self.target.partition(b"?")[2], keep_blank_values=True)

    @cached_property
    def prepath(self) -> list[bytes]:
        """The path's segments that resources have used up."""
        return []

    @cached_property
    def postpath(self) -> list[bytes]:
        """The path's segments that are left, decoded."""
        return [unquote_to_bytes(segment) for segment in self.path.split(b"/")[1:]]

    @cached_property
    def sitepath(self) -> list[bytes]:
        """The segments above the root resource."""
        return []

    @cached_property
    def requestHeaders(self) -> Headers:
        """What the client sent."""
        headers = Headers()
        for name, value in self.head:
            headers.addRawHeader(name, value)
        return headers

    @cached_property
    def responseHeaders(self) -> Headers:
        """What is sent with the first write."""
        return Headers()

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:
        """The client's cookies."""
        pairs = (pair.partition(b"=") for pair in (self.header(b"cookie") or b"").split(b";"))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}

    @cached_property
    def cookies(self) -> list[bytes]:
        """The cookies to set."""
        return []

    @cached_property
    def content(self) -> BytesIO:
        """The body, once `load_content` has been awaited; empty before."""
        return BytesIO()

    @cached_property
    def clientproto(self) -> bytes:
        """The client's version, as in ``HTTP/1.1``."""
        return b"HTTP/%d.%d" % self.http_version

    @cached_property
    def host(self) -> Any:
        """The address that the client has reached."""
        return self._transport.getHost()

    @cached_property
    def client(self) -> Any:
        """The client's address."""
        return self._transport.getPeer()

    @cached_property
    def _adapterCache(self) -> dict[str, Any]:
        return {}

    @property
    def _transport(self) -> Any:
        return self._channel.transport

    @property
    def finished(self) -> int:
        """Whether the answer has ended."""
        return int(self.done)

    @property
    def _disconnected(self) -> bool:
        return self.gone

    async def load_content(self, limit: int) -> BytesIO:
        """Read the body whole into `content` and return it; ValueError past `limit` bytes."""
        content = self.content
        while data := await self.body.read(CHUNK):
            if content.tell() + len(data) > limit:
                self.body.abort("the body is too large")
                raise ValueError(f"the body has more than {limit} bytes")
            content.write(data)
        content.seek(0)
        return content

    def isSecure(self) -> bool:
        """Return whether the connection is encrypted."""
        return self.peer.kind == "tls"

    def getHost(self) -> Any:
        """Return the address that the client has reached."""
        return self.host

    def getClientAddress(self) -> Any:
        """Return the client's address."""
        return self.client

    def getClientIP(self) -> str | None:
        """Return the client's IP address, None on unix sockets."""
        return None if isinstance(self.client, UNIXAddress) else self.client.host

    def notifyFinish(self) -> Deferred[None]:
        """Return what fires when the answer has ended, and fails when the client leaves before."""
        ended: Deferred[None] = Deferred()

        def gone() -> None:
            if not ended.called:
                ended.errback(Failure(ConnectionLost("the client has left")))

        def done() -> None:
            if not ended.called:
                ended.callback(None)

        self.on_gone(gone)
        self.on_done(done)
        return ended

    def write(self, data: bytes) -> None:
        """Send `data`, after the head if this is the first; see `IRequest.write`."""
        if self._sink is None and self._held is None:
            length = self.responseHeaders.getRawHeaders(b"content-length")
            if length == [b"%d" % len(data)] and not self.status:
                self._held = data
                return
        self._put(data)

    def finish(self) -> None:
        """End the answer; see `IRequest.finish`."""
        if self._sink is not None:
            self._sink.end()
        elif not self.status:
            body, self._held = self._held or b"", None
            self.respond(self.code, self._answer_headers(), body, self._reason())

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let `producer` call `write` as fast as the client takes it; see `IConsumer`."""
        if not streaming:
            producer = _PullToPush(producer, self)
        self._channel.out.producer = producer
        if not streaming:
            producer.startStreaming()

    def unregisterProducer(self) -> None:
        """Let go of the producer; see `IConsumer`."""
        producer: Any = self._channel.out.producer
        self._channel.out.producer = None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()

    def processingFailed(self, reason: Failure) -> Failure:
        """Log what a resource raised; answer 500, or break a begun answer off."""
        _log.failure("Serving {target!a} failed", failure=reason, target=self.target)
        if not self.status:
            headers = ((b"Content-Type", b"application/json"),)
            self.respond(500, headers, b'{"message":"internal error"}\n')
        elif self._sink is not None:
            self._sink.abort("serving failed")
        return reason

    def _put(self, data: bytes) -> None:
        if self._sink is None:
            headers = self._answer_headers()
            self._sink = self.stream(self.code, headers, reason=self._reason())
            held, self._held = self._held, None
            if held:
                self._sink.put(held)
        if not self.gone:
            self._sink.put(data)

    def _reason(self) -> bytes | None:
        reason: bytes | None = self.code_message
        return reason

    def _answer_headers(self) -> list[tuple[bytes, bytes]]:
        headers = [
            (name, value)
            for name, values in self.responseHeaders.getAllRawHeaders()
            for value in values
        ]
        headers.extend((b"Set-Cookie", cookie) for cookie in self.cookies)
        return headers


def serve_resource(resource: IResource) -> Callable[[Request], None]:
    """Return a `dispatch` that serves the tree of `resource`, as `twisted.web.server.Site` does."""

    def dispatch(request: Request) -> None:
        try:
            request.render(getChildForRequest(resource, request))
        except Exception:
            request.processingFailed(Failure())

    return dispatch
