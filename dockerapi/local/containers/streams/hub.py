"""A process' streams, shared: one connection to it or its monitor, any number of clients.

Rule: what a client has not taken yet is bounded; past the bound reading stops, and with it the
process at its next write, as under dockerd. A client that leaves lets the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet

from dockerapi.local.containers.streams.attachsocket import AttachSocket
from dockerapi.wire.duplex import Sink, StreamAborted
from dockerapi.wire.stdcopy import frame_head

#: How much may wait for one client, in bytes.
WAITING = 1024 * 1024
#: How much goes out in one write, about.
_WRITE = 256 * 1024
#: What a piece costs besides its bytes.
_OBJECT = 64


class Follower:
    """One client's view of the output: wanted streams, framed or bare."""

    def __init__(self, hub: Hub, streams: Collection[int], *, framed: bool) -> None:
        self._hub = hub
        self._streams = frozenset(streams)
        self._framed = framed
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._waiting: Deferred[None] | None = None

    @property
    def full(self) -> bool:
        """Whether as much waits as may."""
        return self._size >= WAITING

    def offer(self, pieces: list[tuple[int, bytes]]) -> None:
        """Take what is wanted of some output."""
        for stream, data in pieces:
            if stream in self._streams:
                if self._framed:
                    self._put(frame_head(stream, len(data)))
                self._put(data)
        if self._queue:
            self._wake()

    def _put(self, data: bytes) -> None:
        self._queue.append(data)
        self._size += len(data) + _OBJECT

    def end(self) -> None:
        """Say that no more comes."""
        self._ended = True
        self._wake()

    async def give(self, sink: Sink) -> None:
        """Write the output to `sink` until its end, or until this has left."""
        while data := await self.next():
            await sink.write(data)

    async def next(self) -> bytes:
        """Return what waits, once there is something; ``b""`` at the end."""
        while not self._queue:
            if self._ended:
                return b""
            self._waiting = Deferred()
            try:
                await self._waiting
            finally:
                self._waiting = None
        taken: list[bytes] = []
        size = 0
        while self._queue and size < _WRITE:
            taken.append(self._queue.popleft())
            size += len(taken[-1])
        was_full = self.full
        self._size -= size + len(taken) * _OBJECT
        if was_full and not self.full:
            self._hub.drained()
        return b"".join(taken)

    def leave(self) -> None:
        """Follow no longer."""
        self._hub.forget(self)
        self.end()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


class Connection(Protocol):
    """The way to a process' streams; reads its output from the start unless paused."""

    def pause(self) -> None:
        """Stop reading; soon the process stops at its next write."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    async def send(self, data: bytes) -> None:
        """Send input whole; raises `StreamAborted` where nobody takes it any more."""
        ...

    def end_input(self) -> None:
        """Say that no more input comes."""
        ...

    def read(self) -> None:
        """Pass on output that has come, as much as a pipe holds, unless reading is paused."""
        ...

    def close(self) -> None:
        """Leave the streams, without a word to whoever gets the output."""
        ...


#: What a connection calls with the output of one turn: streams (1 or 2) with their bytes, in order.
Output = Callable[[list[tuple[int, bytes]]], None]
#: What a connection calls once, when there is no more output.
End = Callable[[], None]


class Hub:
    """The streams of one process; can be followed before it runs.

    :ivar connected: whether there is a connection to it, or to its monitor.
    """

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor
        self._followers: set[Follower] = set()
        self._connection: Connection | None = None
        self._opened: list[Deferred[None]] = []

    @property
    def connected(self) -> bool:
        """Whether there is a connection to the process, or to its monitor."""
        return self._connection is not None

    @property
    def stalled(self) -> bool:
        """Whether someone has not taken enough yet for reading to go on."""
        return any(each.full for each in self._followers)

    @property
    def followed(self) -> bool:
        """Whether anyone follows."""
        return bool(self._followers)

    def connect(self, path: Path) -> None:
        """Connect to the monitor's socket; harmless when connected. Raises OSError."""
        self.join(partial(AttachSocket, path))

    def join(self, connect: Callable[[IReactorFDSet, Output, End], Connection]) -> None:
        """Connect to the process by `connect`; harmless when connected. Raises what that raises."""
        if self._connection is None:
            self._connection = connect(self._reactor, self._output, self._end)
            self._tell_opened()

    def follow(self, streams: Collection[int], *, framed: bool) -> Follower:
        """Return a view of the output from now on."""
        follower = Follower(self, streams, framed=framed)
        self._followers.add(follower)
        return follower

    def forget(self, follower: Follower) -> None:
        """Let a client go (`Follower.leave` calls this)."""
        self._followers.discard(follower)
        self.drained()

    def drained(self) -> None:
        """Read on where nobody holds the reading up."""
        if self._connection is not None and not self.stalled:
            self._connection.resume()

    async def write(self, data: bytes) -> None:
        """Send input, once there is a process; raises `StreamAborted` when it has ended."""
        if self._connection is None:
            opened: Deferred[None] = Deferred()
            self._opened.append(opened)
            await opened
        if self._connection is None:
            raise StreamAborted("the container has ended")
        await self._connection.send(data)

    async def end_input(self) -> None:
        """Say that no more input comes, once there is a process."""
        if self._connection is None:
            opened: Deferred[None] = Deferred()
            self._opened.append(opened)
            await opened
        if self._connection is not None:
            self._connection.end_input()

    def drop_input(self) -> None:
        """End the input at once if there is a process: its one client has left."""
        if self._connection is not None:
            self._connection.end_input()

    def finish(self) -> None:
        """Leave a process that has ended, with what it wrote, unless someone is yet to take some.

        What reading was held up for until now is in the pipes still.
        """
        if self._connection is not None:
            self._connection.read()
        if not self.stalled:
            self.close()

    def close(self) -> None:
        """Leave the process and end everyone's view; it runs on."""
        if self._connection is not None:
            self._connection.close()
        self._end()

    def _output(self, pieces: list[tuple[int, bytes]]) -> None:
        # Whoever gets something may leave meanwhile.
        for follower in tuple(self._followers):
            follower.offer(pieces)
            if follower.full and self._connection is not None:
                self._connection.pause()

    def _end(self) -> None:
        self._connection = None
        followers, self._followers = self._followers, set()
        for follower in followers:
            follower.end()
        self._tell_opened()

    def _tell_opened(self) -> None:
        """Wake those who wait for a process; they look whether there is one."""
        opened, self._opened = self._opened, []
        for waiter in opened:
            if not waiter.called:
                waiter.callback(None)
