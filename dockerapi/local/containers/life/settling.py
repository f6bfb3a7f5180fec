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
#: How long one with published ports is waited for at most until it listens, in seconds, and for how
#: long when it waits for something itself: perhaps for a child that does.
LISTENING, _CHILDREN = 0.03, 0.01
#: Running, or waiting for a disk: not yet at a place where it stays (proc_pid_stat(5)).
_BUSY = b"RD"
_ENDED = b"ZX"


async def settled(container: Container, clock: IReactorTime) -> None:
    """Return when a container's first process waits for something, has ended, or had its time."""
    while _is_new(container, PATIENCE) and state_of(container.state.pid) in _BUSY:
        await deferLater(clock, _PAUSE)


async def first_words(container: Container, clock: IReactorTime) -> None:
    """Return when what the first process wrote until it was `settled` is in the log."""
    if _is_new(container, PATIENCE):
        await settled(container, clock)
        await deferLater(clock, _WRITING)


async def listening(container: Container, clock: IReactorTime) -> None:
    """Return when a program that was just started may listen at its published ports, if at any."""
    host = container.host_config
    if not host.port_bindings and not host.publish_all_ports:
        return
    waits_since = None
    while _is_new(container, LISTENING) and (state := state_of(container.state.pid)) not in _ENDED:
        if state in _BUSY:
            waits_since = None
        elif waits_since is None:
            waits_since = clock.seconds()
        elif clock.seconds() - waits_since >= _CHILDREN:
            return
        await deferLater(clock, _PAUSE)


def _is_new(container: Container, patience: float) -> bool:
    age = time.time_ns() - container.state.started_at
    return container.state.running and age < patience * NANOSECONDS
