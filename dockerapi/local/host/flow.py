"""The priority of the reactor's thread while much flows in through it.

With a policy of real time it runs as soon as a client has written anything, reads small pieces, and
takes twice the time of a processor for it. Rule: as usual again when the last flow has ended.
"""

from __future__ import annotations

import os
import threading
from typing import Self

from twisted.logger import Logger

_log = Logger()
#: From how many bytes on a flow is a large one.
_LARGE = 1 << 20
_REAL_TIME = (os.SCHED_RR, os.SCHED_FIFO)


class Flow:
    """Something that flows in; a context manager, to be used in the reactor's thread alone."""

    #: How many large ones there are.
    _large = 0
    #: The thread, and the policy and priority it goes back to; None where they were left alone.
    _usual: tuple[int, int, os.sched_param] | None = None

    def __init__(self) -> None:
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._size < _LARGE:
            return
        Flow._large -= 1
        if not Flow._large and Flow._usual is not None:
            (thread, policy, priority), Flow._usual = Flow._usual, None
            _set(thread, policy, priority)

    def count(self, size: int) -> None:
        """Say that `size` bytes more have come."""
        before, self._size = self._size, self._size + size
        if before >= _LARGE or self._size < _LARGE:
            return
        Flow._large += 1
        thread = threading.get_native_id()
        policy = os.sched_getscheduler(thread)
        if policy & ~os.SCHED_RESET_ON_FORK in _REAL_TIME:
            Flow._usual = (thread, policy, os.sched_getparam(thread))
            # What is started meanwhile inherits it: only this policy is nobody's harm.
            _set(thread, os.SCHED_OTHER | policy & os.SCHED_RESET_ON_FORK, os.sched_param(0))


def _set(thread: int, policy: int, priority: os.sched_param) -> None:
    try:
        os.sched_setscheduler(thread, policy, priority)
    except OSError as error:
        _log.warn("the reactor's priority stays: {reason}", reason=error.strerror)
