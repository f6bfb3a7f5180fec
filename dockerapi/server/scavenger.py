"""Memory that a burst of work took, given back in a quiet moment.

Rule: for a server that owns its process; the world stops for some milliseconds meanwhile.
"""

from __future__ import annotations

import ctypes
import gc
import linecache
import sys
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

#: How often it looks, in seconds.
INTERVAL = 3.0
#: How much may be done between two looks in a quiet moment: by whoever watches the server.
FEW = 10
#: How much was done when it is worth while.
MANY = 100


class Scavenger:
    """Calls `scavenge` when much was done since the last time, and now only little is.

    :ivar activity: returns how much was done so far.
    """

    def __init__(
        self, activity: Callable[[], int], scavenge: Callable[[], None], clock: IReactorTime
    ) -> None:
        self.activity = activity
        self._scavenge = scavenge
        self._seen = self._scavenged = 0
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._seen = self._scavenged = self.activity()
        self._looks.start(INTERVAL, now=False)

    def stop(self) -> None:
        """Look no longer."""
        if self._looks.running:
            self._looks.stop()

    def _look(self) -> None:
        activity = self.activity()
        if activity - self._seen < FEW and activity - self._scavenged > MANY:
            self._scavenged = activity
            self._scavenge()
        self._seen = activity


def give_back() -> None:
    """Free what stands in circles and what is kept of directories and sources; return free pages.

    Source: malloc_trim(3). Where the C library has no such call the rest still helps.
    """
    linecache.clearcache()
    sys.path_importer_cache.clear()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
