"""The live part of a container that runs: what this process holds of it.

Rule: whoever waits is told once.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Running:
    """A container's first process, and those who wait for its end to be recorded.

    :ivar pidfd: of its first process.
    """

    def __init__(self, pidfd: int) -> None:
        self.pidfd = pidfd
        self._waiters: list[Deferred[bool]] = []

    async def ended(self, timeout: float | None, clock: IReactorTime) -> bool:
        """Return whether the end was recorded within `timeout` seconds (for ever if None)."""
        waiter: Deferred[bool] = Deferred(self._forget)
        self._waiters.append(waiter)
        if timeout is not None:
            waiter.addTimeout(timeout, clock, onTimeoutCancel=lambda _, __: False)
        return await waiter

    def tell(self) -> None:
        """Tell everyone that the end has been recorded."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            # Who was told before may have made another one give up.
            if not waiter.called:
                waiter.callback(True)

    def _forget(self, waiter: Deferred[bool]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
