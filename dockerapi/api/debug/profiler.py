"""A sampling profiler of the reactor's thread, by processor time.

SIGPROF comes for every `PERIOD_NS` of processor time that the process has used, so a server that
only waits costs nothing and shows nothing. Rule: one profile at a time; the timer is off outside.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from types import FrameType

from twisted.internet import task
from twisted.internet.interfaces import IReactorTime

from dockerapi.api.debug.stacks import frame_stack
from dockerapi.wire.pprof import Frame, Profile, Sample

#: Processor time between two samples, in nanoseconds: 100 a second, as pprof's.
PERIOD_NS = 10_000_000


class Busy(Exception):
    """A profile is being taken already."""


class Profiler:
    """Takes profiles of the thread that handles signals, which is the reactor's."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._counts: Counter[tuple[Frame, ...]] = Counter()
        self._running = False

    async def profile(self, seconds: float) -> Profile:
        """Sample for `seconds` and return what was seen; raises `Busy` for a second at once."""
        if self._running:
            raise Busy("a profile is being taken already")
        self._running = True
        self._counts.clear()
        began = time.time_ns()
        before = signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, PERIOD_NS / 1e9, PERIOD_NS / 1e9)
        try:
            await task.deferLater(self._clock, seconds, lambda: None)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
            self._running = False
        samples = [
            Sample(stack, (count, count * PERIOD_NS)) for stack, count in self._counts.items()
        ]
        return Profile(
            [("samples", "count"), ("cpu", "nanoseconds")],
            samples,
            period=("cpu", "nanoseconds", PERIOD_NS),
            time_ns=began,
            duration_ns=time.time_ns() - began,
        )

    def _sample(self, number: int, frame: FrameType | None) -> None:
        self._counts[frame_stack(frame)] += 1
