"""The end of a socket-activated server that nobody uses.

Rule: only idleness ends it: no request for so long, and no job under way.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from dockerapi.engine.engine import Engine


class IdleExit:
    """Calls `end` once when `seconds` have passed since the last `touch` and no job is running."""

    def __init__(
        self, engine: Engine, seconds: float, clock: IReactorTime, end: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._seconds = seconds
        self._clock = clock
        self._end = end
        self._last = clock.seconds()
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._last = self._clock.seconds()
        self._look_after(self._seconds)

    def touch(self) -> None:
        """Take note that somebody uses the server."""
        self._last = self._clock.seconds()

    def stop(self) -> None:
        """Look no longer."""
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _look_after(self, seconds: float) -> None:
        self._call = self._clock.callLater(seconds, self._look)

    def _look(self) -> None:
        if self._engine.running:
            self._last = self._clock.seconds()
        left = self._last + self._seconds - self._clock.seconds()
        if left > 0:
            self._look_after(left)
        else:
            self._call = None
            self._end()
