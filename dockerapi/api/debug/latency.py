"""How late the reactor is: the time between when a timer was due and when it ran.

Rule: one timer, and none before `start` or after `stop`.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two measurements.
INTERVAL = 0.5


class ReactorLatency:
    """Measures for as long as it runs; times in seconds.

    :ivar last: the latest delay, and `longest` the longest so far.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due = 0.0
        self._call: IDelayedCall | None = None
        self.last = 0.0
        self.longest = 0.0

    def start(self) -> None:
        """Begin to measure."""
        self._due = self._clock.seconds() + INTERVAL
        self._call = self._clock.callLater(INTERVAL, self._measure)

    def stop(self) -> None:
        """End measuring."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _measure(self) -> None:
        self.last = max(0.0, self._clock.seconds() - self._due)
        self.longest = max(self.longest, self.last)
        self.start()
