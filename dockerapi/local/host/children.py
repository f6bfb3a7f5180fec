"""The children of this process: those that it waits for itself, and orphans that came to it.

Rule: whoever starts a child has it expected here; only who owns the process adopts orphans, and
whatever is not expected is one. Source: PR_SET_CHILD_SUBREAPER in prctl(2), waitid(2).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from dockerapi.local.host.syscalls import become_subreaper

#: After which pause it looks again where it could not see all, in seconds.
_PAUSE = 0.02

_expected: set[int] = set()
#: One for each child that is just being made, and whose number nobody knows yet.
_beginning: set[object] = set()


def start_expected(start: Callable[[], int]) -> int:
    """Return the number of the child that `start` makes; its caller waits for it. For any thread.

    `forget` it right before the wait that can no longer fail.
    """
    token = object()
    _beginning.add(token)
    try:
        pid = start()
        _expected.add(pid)
    finally:
        _beginning.remove(token)
    return pid


def forget(pid: int) -> None:
    """Expect a child no longer."""
    _expected.discard(pid)


class Orphans:
    """Reaps the descendants that outlived their parents.

    A runtime leaves such behind, as zombies in a container that cannot end before somebody reaps
    them; not every first process of a machine or a container does.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._again: IDelayedCall | None = None

    def adopt(self) -> None:
        """Have the orphans among all descendants of this process come to it."""
        become_subreaper()
        self.reap()

    def reap(self) -> None:
        """Reap those that have ended; call it in the reactor's thread when a child has."""
        if self._again is not None and self._again.active():
            return
        while (ended := _ended_child()) is not None:
            # Only the first that ended is seen: whoever waits for it has its turn before others.
            if _beginning or ended in _expected:
                self._again = self._clock.callLater(_PAUSE, self.reap)
                return
            os.waitpid(ended, 0)

    def stop(self) -> None:
        """Look no longer on its own."""
        if self._again is not None and self._again.active():
            self._again.cancel()


def _ended_child() -> int | None:
    """Return the number of a child that has ended and was not reaped; None without one."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
