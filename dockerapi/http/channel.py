"""The state of one HTTP/1.1 connection.

Rule: one request at a time; the next head is looked at when the answer before it has ended and
its body has been read.
"""

from __future__ import annotations

import math
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from dockerapi.http.answer import render_error
from dockerapi.http.body import Inbox
from dockerapi.http.connection import Caretaker
from dockerapi.http.exchange import HTTPExchange
from dockerapi.http.head import Head, Refused, parse
from dockerapi.http.hijack import Hijacked
from dockerapi.http.incoming import Incoming
from dockerapi.http.interfaces import Peer
from dockerapi.http.outgoing import Outgoing
from dockerapi.http.peer import account_of, has_closed, peer_of, prepare_tcp

_log = Logger()
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@implementer(IHalfCloseableProtocol)
class HTTPChannel(Protocol):
    """One connection of a client.

    :ivar out: its sending side; `send` is that one's.
    :ivar lost: whether the connection is gone.
    """

    def __init__(self, factory: Caretaker) -> None:
        self._factory = factory
        self._limits = factory.limits
        self._account: object = None
        self._peer: Peer | None = None
        self._exchange: HTTPExchange | None = None
        self._duplex: Hijacked | None = None
        self._advancing = False
        self._closing = False
        self._counted = False
        self._waited = 0.0
        self._requests = 0
        self._head_sent = 0.0
        self._leaving: IDelayedCall | None = None
        self.lost = False

    # What the transport calls.

    def connectionMade(self) -> None:
        """Count the connection, or refuse it."""
        transport: Any = self.transport
        self._transport = transport
        self._account = account_of(transport)
        if isinstance(self._account, str) and hasattr(transport, "setTcpNoDelay"):
            prepare_tcp(transport)
        self._incoming = Incoming(transport, self._limits)
        self.out = Outgoing(transport, self._has_room)
        self.send = self.out.send
        self._factory.opened(self)
        self._counted = self._factory.connections.enter(self._account)
        if not self._counted:
            self._refuse(Refused(503, "too many connections"))

    def dataReceived(self, data: bytes) -> None:
        """Take what the client sent to where it belongs."""
        if self._closing:
            return
        incoming = self._incoming
        if incoming.decoder is not None:
            self._waited = 0.0
            self._feed_body(data)
        elif self._duplex is not None:
            self._duplex.inbox.push(data)
        else:
            if not len(incoming.heads):
                self._waited = 0.0
            incoming.heads.feed(data)
            self._advance()

    def readConnectionLost(self) -> None:
        """The client has half-closed."""
        self._incoming.ended = True
        if self._duplex is not None and not self._closing:
            self._incoming.decoder = None
            self._duplex.inbox.end()
            if self._duplex.write_closed:
                self._lose()
        elif self._closing or self._exchange is None:
            self._lose()
        else:
            self._client_ended()

    def writeConnectionLost(self) -> None:
        """Our half-close is done, or the client cannot receive any more."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell everyone who waits."""
        self.lost = self._closing = self._incoming.ended = True
        self._factory.closed(self)
        if self._leaving is not None and self._leaving.active():
            self._leaving.cancel()
        if self._counted:
            self._factory.connections.leave(self._account)
        words = f"connection lost: {reason.getErrorMessage()}"
        if self._duplex is not None:
            self._duplex.inbox.fail(words)
        self._break_off(words)
        self.out.let_go()

    def _has_room(self) -> None:
        if self._exchange is None and self._duplex is None:
            self._advance()

    # What exchanges, sinks and hijacked streams call.

    def can_keep(self) -> bool:
        """Return whether the connection can serve another request after this answer."""
        incoming = self._incoming
        if self._factory.stopping or (incoming.ended and not len(incoming.heads)):
            return False
        return incoming.decoder is None or incoming.drainable

    def finish(self, exchange: HTTPExchange, keep: bool) -> None:
        """End the answer of `exchange`; go on to the next request, or close."""
        if exchange is not self._exchange:
            return
        self._exchange = self.out.producer = None
        self._waited = 0.0
        incoming = self._incoming
        body, incoming.body = incoming.body, None
        if not keep or not self.can_keep():
            self._close_gently()
        elif incoming.decoder is not None:
            incoming.drain()
        exchange.mark_done()
        if body is not None:
            body.fail("the answer has ended")
        self._advance()

    def hijack(self, exchange: HTTPExchange, head: bytes) -> Hijacked:
        """Send `head` by itself and turn the connection into a raw stream."""
        inbox = Inbox(self, self._limits.body_buffer)
        duplex = Hijacked(self, inbox)
        self.out.send_alone(head)
        self._head_sent = self._factory.clock.seconds()
        self._duplex = duplex
        self._incoming.become_raw(inbox)
        return duplex

    def count_sent(self, size: int) -> None:
        """Count what a hijacked stream sends."""
        if self._exchange is not None:
            self._exchange.sent += size

    async def settle(self) -> None:
        """Wait until the client has had time to read a hijack's head by itself."""
        wait = self._head_sent + self._limits.settle_seconds - self._factory.clock.seconds()
        if wait > 0:
            await deferLater(self._factory.clock, wait)

    def half_close(self) -> None:
        """End our side of a hijacked stream; close when the client's has ended."""
        if self.lost:
            return
        if self._incoming.ended:
            self._lose()
        else:
            self._waited = 0.0
            self.out.half_close()

    def abort(self, reason: str) -> None:
        """Break the connection off; what is unsent is dropped."""
        if not self.lost:
            self._closing = True
            self._break_off(reason)
            self._transport.abortConnection()

    def end(self, reason: str) -> None:
        """Close once what was sent has left; an exchange in progress is broken off."""
        self._break_off(reason)
        self._lose()

    # What inboxes call.

    def inbox_full(self) -> None:
        """Stop reading."""
        self._incoming.pause()

    def inbox_wanted(self) -> None:
        """Read on; tell a client that waits for it to go ahead."""
        incoming = self._incoming
        if incoming.expects and self._exchange is not None and not self._exchange.status:
            incoming.expects = False
            self.send(_CONTINUE)
        incoming.resume()

    def inbox_dropped(self, reason: str) -> None:
        """Read what is still to come of a body, and throw it away."""
        self._incoming.drain()

    # What the factory's sweep calls.

    def tick(self, seconds: float) -> None:
        """Say that `seconds` have passed; cut off a client that is too slow."""
        limit = self._patience()
        if limit == math.inf:
            self._waited = 0.0
            return
        self._waited += seconds
        if self._waited <= limit:
            return
        if self._closing or self._duplex is not None:
            self.abort("the client did not close")
        elif self._exchange is not None or len(self._incoming.heads):
            self._refuse(Refused(408, "the request did not arrive in time"))
        else:
            self._close_gently()

    def close_if_idle(self) -> None:
        """Close unless a request is in progress."""
        if self._exchange is None and not self._closing:
            self._close_gently()

    @property
    def blind(self) -> bool:
        """Whether the client may have left without the transport's noticing.

        Not where bytes of a body or a raw stream wait to be read: their reader gets them first.
        """
        if self.lost or self._closing:
            return False
        if self._duplex is not None:
            return self._incoming.ended and not self._duplex.write_closed
        return self._incoming.deaf

    def fileno(self) -> int:
        """Return the connection's descriptor, -1 where it has none."""
        fileno = getattr(self._transport, "fileno", None)
        return -1 if fileno is None else int(fileno())

    def _patience(self) -> float:
        """Return how long this state may last without progress, in seconds."""
        limits, incoming = self._limits, self._incoming
        if self._closing:
            return limits.linger_seconds
        if self._duplex is not None:
            idle = self._duplex.write_closed and not self._duplex.inbox.waiting
            return limits.linger_seconds if idle else math.inf
        if self._exchange is not None:
            body = incoming.body
            waits = body is not None and body.waiting and not self._exchange.status
            return limits.body_seconds if waits else math.inf
        if incoming.unread or not self._requests:
            return limits.head_seconds
        return limits.idle_seconds

    # Requests.

    def _advance(self) -> None:
        """Dispatch what has arrived, one request after the other."""
        if self._advancing:
            return
        self._advancing = True
        incoming = self._incoming
        try:
            while (
                self._exchange is None
                and incoming.decoder is None
                and not self._closing
                and not self.out.congested
            ):
                data = incoming.heads.next()
                if data is None:
                    if incoming.ended:
                        self._lose()
                    break
                self._begin(parse(data))
        except Refused as refusal:
            self._refuse(refusal)
        finally:
            self._advancing = False
        if incoming.decoder is None and self._duplex is None and not self._closing:
            waits = self._exchange is not None or self.out.congested
            if waits and len(incoming.heads) >= self._limits.pipeline:
                incoming.pause()
            else:
                incoming.resume()

    def _begin(self, head: Head) -> None:
        """Dispatch the request with the head `head`."""
        self._requests += 1
        incoming = self._incoming
        body = incoming.begin(head, self)
        peer = self._peer
        if peer is None:
            peer = self._peer = peer_of(self._transport, self._factory.listener)
        exchange = self._exchange = self._factory.request(self, head, body, peer)
        try:
            self._factory.dispatch(exchange)
        except Exception:
            _log.failure("Dispatching {target!a} failed", target=head.target)
            self._refuse(Refused(500, "internal error"))
            return
        if incoming.decoder is not None and len(incoming.heads):
            self._feed_body(incoming.heads.take_all())
        elif incoming.ended and not len(incoming.heads) and self._exchange is exchange:
            self._client_ended()

    def _feed_body(self, data: bytes) -> None:
        incoming = self._incoming
        try:
            incoming.feed_body(data)
        except Refused as refusal:
            self._refuse(refusal)
            return
        if self._exchange is None:
            if incoming.decoder is None:
                self._advance()
            elif incoming.drained > self._limits.drain:
                self._close_gently()

    # Ends.

    def _client_ended(self) -> None:
        """The client ended its side while its request is in progress: left, or half-closed."""
        if len(self._incoming.heads):
            return
        exchange = self._exchange
        if self._incoming.decoder is not None or has_closed(self.fileno()):
            self._client_left(exchange)
        elif self._leaving is None or not self._leaving.active():
            clock = self._factory.clock
            self._leaving = clock.callLater(self._limits.leave_seconds, self._client_left, exchange)

    def _client_left(self, exchange: HTTPExchange | None) -> None:
        """Nobody waits for the answer of `exchange`: break it off, unless it has ended."""
        if exchange is None or exchange is not self._exchange or self._duplex is not None:
            return
        # What was ready when the client's side ended is sent before anything is cancelled.
        reason = "the client has left"
        self._incoming.break_off(reason)
        self.out.break_off(reason)
        exchange.mark_gone()
        if self._exchange is exchange:
            self._break_off(reason)
            self._lose()

    def _break_off(self, reason: str) -> None:
        """End the exchange in progress without its answer."""
        exchange, self._exchange = self._exchange, None
        self._incoming.break_off(reason)
        self.out.break_off(reason)
        if exchange is not None:
            exchange.mark_gone()
            exchange.mark_done()

    def _refuse(self, refusal: Refused) -> None:
        """Answer with an error, unless an answer has begun, and close."""
        exchange = self._exchange
        if exchange is not None and exchange.status:
            self.abort(refusal.message)
            return
        self.send(render_error(refusal.status, refusal.message))
        self._closing = True
        self._break_off(refusal.message)
        self._close_gently(unread=True)

    def _close_gently(self, unread: bool = False) -> None:
        """Close so that what was sent arrives, even when not all was read."""
        if self.lost:
            return
        incoming = self._incoming
        unread = unread or incoming.unread
        self._closing = True
        self._waited = 0.0
        incoming.decoder = None
        incoming.heads.take_all()
        if unread and not incoming.ended and self.out.can_half_close:
            self.out.half_close()
            incoming.resume()
        else:
            self._lose()

    def _lose(self) -> None:
        if not self.lost:
            self._closing = True
            self._waited = 0.0
            self.out.close()
