"""One client at a process' streams: its input in, the output out, until either side is done."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import CancelledError, Deferred

from dockerapi.local.containers.detachkeys import DetachFilter
from dockerapi.local.containers.hub import Follower, Hub
from dockerapi.wire.duplex import Duplex, StreamAborted


@attrs.frozen
class Wanted:
    """What a client takes part in.

    :ivar stdin: whether its input goes to the process.
    :ivar output: whether it gets output.
    :ivar once: whether the end of its input is the process'.
    :ivar detach: the keys that leave, or None where there is no terminal.
    :ivar leaves: whether the end of its input says that it is gone (it cannot half-close).
    """

    stdin: bool
    output: bool
    once: bool
    detach: bytes | None
    leaves: bool = False


async def stream(hub: Hub, follower: Follower, duplex: Duplex, wanted: Wanted) -> bool:
    """Join `duplex` to the streams; return whether its client detached by keys.

    Returns when the output has ended and was sent, or, where none is wanted, the input has.
    """
    pump = _Input(hub, duplex, wanted)
    try:
        await _exchange(pump, follower, duplex, wanted)
    finally:
        follower.leave()
        if wanted.stdin and wanted.once and not pump.detached:
            # A client that is gone sends no end, but the process must learn of it.
            hub.drop_input()
    return pump.detached


async def _exchange(pump: _Input, follower: Follower, duplex: Duplex, wanted: Wanted) -> None:
    taking = Deferred.fromCoroutine(pump.run())
    if not wanted.output:
        await taking
        return
    if pump.detached or pump.gone:
        return
    giving = Deferred.fromCoroutine(_give(follower, duplex))
    pump.leave = giving.cancel
    try:
        await giving
    except CancelledError:
        if not pump.detached and not pump.gone:
            raise
    finally:
        taking.addErrback(lambda _: None)
        taking.cancel()


async def _give(follower: Follower, duplex: Duplex) -> None:
    while data := await follower.next():
        await duplex.write(data)


def _stay() -> None:
    """Do nothing: there is no output to leave."""


class _Input:
    """Takes a client's input until its end, or until it leaves."""

    def __init__(self, hub: Hub, duplex: Duplex, wanted: Wanted) -> None:
        self._hub = hub
        self._duplex = duplex
        self._wanted = wanted
        self._filter = DetachFilter(wanted.detach) if wanted.detach else None
        self.detached = False
        self.gone = False
        self._ended = False
        self.leave: Callable[[], None] = _stay

    async def run(self) -> None:
        try:
            await self._take()
            self.gone = self._ended and self._wanted.leaves
        except StreamAborted:
            self.gone = True
        if self.gone:
            self.leave()

    async def _take(self) -> None:
        while data := await self._duplex.read():
            if not self._wanted.stdin:
                continue
            if self._filter is not None:
                data = self._filter.feed(data)
            if data and not await self._pass_on(data):
                return
            if self._filter is not None and self._filter.detached:
                self.detached = True
                self.leave()
                return
        self._ended = True
        if not self._wanted.stdin:
            return
        if self._filter is not None and (rest := self._filter.rest()):
            await self._pass_on(rest)
        if self._wanted.once:
            await self._hub.end_input()

    async def _pass_on(self, data: bytes) -> bool:
        """Send input to the process; tell whether it takes more."""
        try:
            await self._hub.write(data)
        except StreamAborted:
            return False
        return True
