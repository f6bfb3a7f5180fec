"""What the parts of a connection need of each other, so that none knows another's class.

Rule: interfaces alone; `channel` and `exchange` are what they say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from dockerapi.http.counter import ConnectionCounter
from dockerapi.http.limits import Limits
from dockerapi.http.outgoing import Outgoing
from dockerapi.wire.duplex import Duplex


class Answered(Protocol):
    """The exchange whose answer is being sent.

    :ivar gone: whether its client has left, `done` whether the answer has ended.
    :ivar sent: the bytes of its body so far.
    """

    gone: bool
    done: bool
    status: int
    sent: int

    def mark_gone(self) -> None:
        """Say that the client has left."""
        ...

    def mark_done(self) -> None:
        """Say that the answer is finished or broken off."""
        ...


class Connection(Protocol):
    """The connection, as its exchange and the streams on it use it.

    :ivar out: its sending side; `send` is that one's.
    :ivar lost: whether it is gone.
    :ivar transport: Twisted's transport.
    """

    out: Outgoing
    transport: Any
    send: Callable[[bytes], None]
    lost: bool

    def can_keep(self) -> bool:
        """Return whether it can serve another request after this answer."""
        ...

    def finish(self, exchange: Any, keep: bool) -> None:
        """End the answer of `exchange`; go on to the next request, or close."""
        ...

    def hijack(self, exchange: Any, head: bytes) -> Duplex:
        """Send `head` by itself and turn the connection into a raw stream."""
        ...

    def count_sent(self, size: int) -> None:
        """Count what a hijacked stream sends."""
        ...

    async def settle(self) -> None:
        """Wait until the client has had time to read a hijack's head by itself."""
        ...

    def half_close(self) -> None:
        """End our side of a hijacked stream."""
        ...

    def abort(self, reason: str) -> None:
        """Break the connection off."""
        ...

    def inbox_full(self) -> None:
        """Stop reading."""
        ...

    def inbox_wanted(self) -> None:
        """Read on."""
        ...

    def inbox_dropped(self, reason: str) -> None:
        """Read what is still to come of a body, and throw it away."""
        ...


class Caretaker(Protocol):
    """Who looks after a connection: its factory.

    :ivar stopping: whether the port has closed.
    :ivar request: makes the exchange of a head, `dispatch` has it answered.
    """

    limits: Limits
    clock: Any
    connections: ConnectionCounter
    listener: str
    stopping: bool
    request: Callable[..., Any]
    dispatch: Callable[[Any], None]

    def opened(self, channel: Any) -> None:
        """Look after `channel`."""
        ...

    def closed(self, channel: Any) -> None:
        """Forget `channel`."""
        ...
