"""The receiving side of one connection.

Rule: what the client sends belongs to a head, to the body of the request before the next head, or
to the raw stream after a hijack; where nobody takes it, the transport is paused.
"""

from __future__ import annotations

from typing import Any

from dockerapi.http.body import EMPTY, EmptyBody, Feeder, Inbox
from dockerapi.http.framing import ChunkedDecoder, Decoder, LengthDecoder
from dockerapi.http.head import Head, HeadBuffer, Refused
from dockerapi.http.limits import Limits
from dockerapi.http.readsize import size_reads


class Incoming:
    """Receives from `transport`.

    :ivar heads: what waits to be read as heads.
    :ivar decoder: takes the body in progress out of the bytes; None between bodies.
    :ivar body: where that body goes; None where nobody reads it (any more).
    :ivar drained: how many bytes came of a body that nobody reads.
    :ivar expects: whether the client waits for ``100 Continue``.
    :ivar ended: whether nothing more comes: the client has ended its side, or is gone.
    """

    __slots__ = (
        "_limits",
        "_paused",
        "_raw",
        "_transport",
        "body",
        "decoder",
        "drained",
        "ended",
        "expects",
        "heads",
    )

    def __init__(self, transport: Any, limits: Limits) -> None:
        self._transport = transport
        self._limits = limits
        self._paused = False
        self._raw: Inbox | None = None
        self.heads = HeadBuffer(limits)
        self.decoder: Decoder | None = None
        self.body: Inbox | None = None
        self.drained = 0
        self.expects = False
        self.ended = False

    def begin(self, head: Head, feeder: Feeder) -> Inbox | EmptyBody:
        """Return the body of the request with the head `head`; what comes next goes there."""
        self.expects = head.expects
        length = head.length
        if length == 0:
            return EMPTY
        size_reads(self._transport, length)
        self.decoder = ChunkedDecoder(self._limits) if length is None else LengthDecoder(length)
        self.body = body = Inbox(feeder, self._limits.body_buffer)
        return body

    def feed_body(self, data: bytes) -> None:
        """Take `data` to the body in progress, and what follows it to where that belongs.

        Raises `Refused`, which ends the body, when the framing is broken.
        """
        assert self.decoder is not None
        try:
            payload, rest = self.decoder.feed(data)
        except Refused:
            self.decoder = None
            raise
        if payload:
            self.expects = False
        body = self.body
        if rest is not None:
            size_reads(self._transport, 0)
            self.decoder = self.body = None
            self.expects = False
            if self._raw is not None:
                self._raw.push(rest)
            else:
                self.heads.feed(rest)
        if body is not None:
            # Last, as its reader may go on at once: answer, or take the connection over.
            body.push(payload, last=rest is not None)
        else:
            self.drained += len(data)

    def become_raw(self, inbox: Inbox) -> None:
        """Have all that follows the body in progress go to `inbox`."""
        self._raw = inbox
        self.body = None
        if self.decoder is None:
            inbox.push(self.heads.take_all())
        if self.ended:
            inbox.end()
        else:
            self.resume()

    def drain(self) -> None:
        """Read the rest of the body in progress, and throw it away."""
        self.body = None
        self.drained = 0
        self.resume()

    def break_off(self, reason: str) -> None:
        """Give up the body in progress, and tell its reader."""
        self.decoder = None
        body, self.body = self.body, None
        if body is not None:
            body.fail(reason)

    @property
    def drainable(self) -> bool:
        """Whether the rest of the body is little enough to be read and thrown away."""
        if self.decoder is None:
            return True
        remaining = self.decoder.remaining()
        return not self.expects and (remaining is None or remaining <= self._limits.drain)

    @property
    def unread(self) -> bool:
        """Whether the client has sent, or is sending, what nobody has read."""
        return self.decoder is not None or len(self.heads) > 0

    @property
    def deaf(self) -> bool:
        """Whether the client may leave without the transport's noticing.

        Not where bytes of a body wait to be read: their reader gets them first.
        """
        return self.ended or (self._paused and self.decoder is None)

    def pause(self) -> None:
        """Stop reading."""
        if not self._paused and not self.ended:
            self._paused = True
            self._transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.ended:
            self._paused = False
            self._transport.resumeProducing()
