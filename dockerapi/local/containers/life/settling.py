"""The first moments of a program, in which clients find less done than under dockerd.

Rule: a start is answered as soon as there is a process; what is asked right afterwards finds it
about as far as under dockerd, whose start takes longer. A shell has set its traps, and said what it
says first, by the time that it waits for something.
"""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from dockerapi.local.containers.container import Container
from dockerapi.local.host.pidfd import state_of
from dockerapi.model.timestamps import NANOSECONDS

#: How long after its start a program is waited for at most, in seconds.
PATIENCE = 0.1
#: Between two looks at it, in seconds.
_PAUSE = 0.001
#: How long what it has written may take into its log, in seconds.
_WRITING = 0.01
#: Running, or waiting for a disk: not yet at a place where it stays (proc_pid_stat(5)).
_BUSY = b"RD"


async def settled(container: Container, clock: IReactorTime) -> None:
    """Return when a container's first process waits for something, has ended, or had its time."""
    while _is_new(container) and state_of(container.state.pid) in _BUSY:
        await deferLater(clock, _PAUSE)


async def first_words(container: Container, clock: IReactorTime) -> None:
    """Return when what the first process wrote until it was `settled` is in the log."""
    if _is_new(container):
        await settled(container, clock)
        await deferLater(clock, _WRITING)


def _is_new(container: Container) -> bool:
    age = time.time_ns() - container.state.started_at
    return container.state.running and age < PATIENCE * NANOSECONDS
