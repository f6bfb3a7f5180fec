"""One client at a process' streams: its input in, the output out, until either side is done.

Rule: a client that leaves gets what was there for it before; one that is gone holds up nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred

from dockerapi.local.containers.streams.detachkeys import DetachFilter
from dockerapi.local.containers.streams.hub import Hub
from dockerapi.wire.duplex import Duplex, Sink, StreamAborted


class Output(Protocol):
    """A process' output, for one client."""

    async def give(self, sink: Sink) -> None:
        """Write it to `sink`; return when there is no more, or after `leave`."""
        ...

    def leave(self) -> None:
        """Take no more of it; what is there already may still be given. Harmless twice."""
        ...


class Left(Enum):
    """Why a client is no longer at the streams."""

    ENDED = "the output ended"
    DETACHED = "the detach keys came"
    INPUT = "its input ended"
    GONE = "its connection ended"


class Wanted(msgspec.Struct, frozen=True):
    """What a client takes part in.

    :ivar stdin: whether its input goes to the process.
    :ivar output: whether it gets output.
    :ivar once: whether the end of its input is the process'; else the client leaves with it.
    :ivar detach: the keys that leave, or None where there is no terminal.
    :ivar leaves: whether the end of its input says that it is gone (it cannot half-close).
    """

    stdin: bool
    output: bool
    once: bool
    detach: bytes | None
    leaves: bool = False


async def stream(hub: Hub, output: Output, duplex: Duplex, wanted: Wanted) -> Left:
    """Join `duplex` to the streams; return why it ended.

    Returns when the output has ended and was sent, when the client left, or, where no output is
    wanted, when the input has ended; `output` then has nothing to give but its end.
    """
    pump = _Input(hub, duplex, wanted)
    try:
        return await _exchange(pump, output, duplex, wanted)
    finally:
        output.leave()
        if wanted.stdin and wanted.once and pump.left is not Left.DETACHED:
            # A client that is gone sends no end, but the process must learn of it.
            hub.drop_input()


async def _exchange(pump: _Input, output: Output, duplex: Duplex, wanted: Wanted) -> Left:
    giving = Deferred.fromCoroutine(output.give(duplex))
    ended = Left.ENDED

    def leave(_: object) -> None:
        nonlocal ended
        if pump.left is Left.GONE:
            giving.cancel()
        elif pump.left is not None:
            output.leave()
        elif not wanted.output:
            # It came for its input alone.
            ended = Left.INPUT
            output.leave()

    taking = Deferred.fromCoroutine(pump.run()).addCallback(leave)
    try:
        await giving
    except CancelledError:
        if pump.left is not Left.GONE:
            raise
    finally:
        taking.addErrback(lambda _: None)
        taking.cancel()
    return pump.left or ended


class _Input:
    """Takes a client's input until its end, or until it leaves.

    :ivar left: how it left; None while it is there, and when only its input has ended.
    """

    def __init__(self, hub: Hub, duplex: Duplex, wanted: Wanted) -> None:
        self._hub = hub
        self._duplex = duplex
        self._wanted = wanted
        self._filter = DetachFilter(wanted.detach) if wanted.detach else None
        self.left: Left | None = None

    async def run(self) -> None:
        try:
            await self._take()
        except StreamAborted:
            self.left = Left.GONE

    async def _take(self) -> None:
        while data := await self._duplex.read():
            if not self._wanted.stdin:
                continue
            if self._filter is not None:
                data = self._filter.feed(data)
            if data and not await self._pass_on(data):
                return
            if self._filter is not None and self._filter.detached:
                self.left = Left.DETACHED
                return
        if self._wanted.leaves:
            self.left = Left.GONE
        elif self._wanted.stdin:
            await self._end()

    async def _end(self) -> None:
        if self._filter is not None and (rest := self._filter.rest()):
            await self._pass_on(rest)
        if self._wanted.once:
            await self._hub.end_input()
        else:
            self.left = Left.INPUT

    async def _pass_on(self, data: bytes) -> bool:
        """Send input to the process; tell whether it takes more."""
        try:
            await self._hub.write(data)
        except StreamAborted:
            return False
        return True
