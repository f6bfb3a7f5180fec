"""A small stock of things made ahead, refilled in the background.

Rule: things are made one at a time and none is lost: whoever gives up waiting leaves what is being
made to the stock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.errors import Unavailable

T = TypeVar("T")


class Pool(Generic[T]):
    """Up to `size` things that `make` makes.

    :ivar pause: seconds between a take and the refill, so that making the next one does not
        compete with what the taken one is for.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        make: Callable[[], Awaitable[T]],
        size: int,
        pause: float = 0.05,
    ) -> None:
        self.pause = pause
        self._clock = clock
        self._make = make
        self._size = size
        self._ready: deque[T] = deque()
        self._waiting: deque[Deferred[T]] = deque()
        self._alarm: IDelayedCall | None = None
        self._filling: Deferred[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    async def take(self) -> T:
        """Return a ready one at once, or else the next that is made; raises what `make` raises."""
        if self._closed:
            raise Unavailable("the networks are being stopped")
        if self._ready:
            self._refill_later()
            return self._ready.popleft()
        waiting: Deferred[T] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        self.fill()
        return await waiting

    def fill(self) -> None:
        """Begin to make what is missing, unless that is under way."""
        if self._filling is None and not self._closed:
            filling = self._filling = Deferred.fromCoroutine(self._fill())
            filling.addErrback(self._failed).addCallback(self._filled)

    async def close(self) -> list[T]:
        """Make no more, and return what is left once nothing is being made."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._filling is not None:
            done: Deferred[None] = Deferred()
            self._filling.addCallback(done.callback)
            await done
        self._refuse(Failure(Unavailable("the networks are being stopped")))
        left = list(self._ready)
        self._ready.clear()
        return left

    def _refill_later(self) -> None:
        if self._alarm is None:
            self._alarm = self._clock.callLater(self.pause, self._ring)
        elif len(self._ready) > 1:
            # While one after the other is taken the refill waits for a quiet moment, if it can.
            self._alarm.reset(self.pause)

    def _ring(self) -> None:
        self._alarm = None
        self.fill()

    async def _fill(self) -> None:
        while (self._waiting or len(self._ready) < self._size) and not self._closed:
            made = await self._make()
            if self._waiting:
                self._waiting.popleft().callback(made)
            else:
                self._ready.append(made)

    def _failed(self, failure: Failure) -> None:
        # To try again before somebody asks would only fill the log.
        self.log.warn("cannot make one ahead: {reason}", reason=failure.getErrorMessage())
        self._refuse(failure)

    def _refuse(self, failure: Failure) -> None:
        waiting, self._waiting = self._waiting, deque()
        for one in waiting:
            one.errback(failure)

    def _filled(self, _: None) -> None:
        self._filling = None
