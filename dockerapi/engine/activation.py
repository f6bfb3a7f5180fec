"""The moment from which the engine serves: one switch, made with the engine itself.

The source makes its lock inside `serveapi`, so that a daemon which is ready earlier hangs for
ever; here it exists from birth, and firing it twice is harmless.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Activation:
    """A one-way switch: waiting, then active or failed.

    :ivar failure: why the engine cannot serve, once its start has failed.
    """

    def __init__(self) -> None:
        self.active = False
        self.failure: Failure | None = None
        self._waiting: list[Deferred[None]] = []

    def wait(self) -> Deferred[None]:
        """Return a Deferred that fires at activation (at once when active), or fails with it."""
        if self.active:
            deferred: Deferred[None] = Deferred()
            deferred.callback(None)
            return deferred
        if self.failure is not None:
            deferred = Deferred()
            deferred.errback(self.failure)
            return deferred
        deferred = Deferred(self._forget)
        self._waiting.append(deferred)
        return deferred

    def activate(self) -> None:
        """Let everyone through; nothing happens when that was done, or when the start failed."""
        if self.failure is None and not self.active:
            self.active = True
            for deferred in self._take():
                deferred.callback(None)

    def fail(self, failure: Failure) -> None:
        """Tell everyone who waits that the start failed; nothing happens when active."""
        if self.failure is None and not self.active:
            self.failure = failure
            for deferred in self._take():
                deferred.errback(failure)

    def _forget(self, deferred: Deferred[None]) -> None:
        if deferred in self._waiting:
            self._waiting.remove(deferred)

    def _take(self) -> list[Deferred[None]]:
        waiting, self._waiting = self._waiting, []
        return waiting
