"""A connection that its handler took over, as a raw stream.

Rule: a half-closed client keeps receiving; the connection ends when both sides have.
"""

from __future__ import annotations

from dockerapi.http.body import Inbox
from dockerapi.http.connection import Connection
from dockerapi.wire.duplex import CHUNK, StreamAborted


class Hijacked:
    """A `Duplex` over a channel's transport.

    :ivar inbox: what the client sent, filled by the channel.
    :ivar write_closed: whether our side has ended.
    """

    __slots__ = ("_channel", "_settled", "inbox", "write_closed")

    def __init__(self, channel: Connection, inbox: Inbox) -> None:
        self._channel = channel
        self._settled = False
        self.inbox = inbox
        self.write_closed = False

    @classmethod
    def broken(cls, channel: Connection) -> Hijacked:
        """Return the stream of a client that has left."""
        inbox = Inbox(channel, 0)
        inbox.fail("the client has left")
        return cls(channel, inbox)

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return the next bytes of the client, `b""` at its end; see `Source.read`."""
        return await self.inbox.read(limit)

    async def write(self, data: bytes) -> None:
        """Send `data`; raises `StreamAborted` when the connection is lost."""
        if not self._settled:
            self._settled = True
            await self._channel.settle()
        if self.write_closed or self._channel.lost:
            raise StreamAborted("the stream has ended" if self.write_closed else "connection lost")
        if data:
            self._channel.count_sent(len(data))
            self._channel.send(data)
            if self._channel.out.congested:
                await self._channel.out.drained()

    async def close_write(self) -> None:
        """Half-close; what was written still arrives."""
        if not self.write_closed:
            self.write_closed = True
            self._channel.half_close()

    def abort(self, reason: str) -> None:
        """Break the connection off."""
        self.write_closed = True
        self._channel.abort(reason)
