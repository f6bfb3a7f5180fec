"""Waiting for the end of processes, children or not, by pidfd in the reactor.

Source: pidfd_open(2). Rule: a process is known by its descriptor, never by a number alone, since
numbers are used again.
"""

from __future__ import annotations

import os
import select
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IReadDescriptor)
class _Readable:
    """A descriptor that becomes readable once, in the reactor."""

    def __init__(self, reactor: IReactorFDSet, descriptor: int) -> None:
        self._reactor = reactor
        # The reactor knows readers by number: with one of our own, several can wait for a process.
        self._descriptor = os.dup(descriptor)
        self.ready: Deferred[None] = Deferred(lambda _: self._close())
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "pidfd"

    def doRead(self) -> None:
        self._close()
        self.ready.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        # The kernel may add a hang-up for a process that was reaped; it has ended all the same. A
        # reactor that stops calls this too, for processes that run on: those nobody is told of.
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        ended = bool(poll.poll(0))
        self._close()
        if ended and not self.ready.called:
            self.ready.callback(None)

    def _close(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1


def exit_of(pidfd: int, reactor: IReactorFDSet | None = None) -> Deferred[None]:
    """Return a Deferred that fires when the process of `pidfd` has ended.

    The descriptor stays its caller's. A child is still to be reaped then. Cancelling stops the
    waiting, not the process.
    """
    return until_readable(pidfd, reactor)


def until_readable(descriptor: int, reactor: IReactorFDSet | None = None) -> Deferred[None]:
    """Return a Deferred that fires when `descriptor` can be read, or its other end is closed.

    Nothing is read; the descriptor stays its caller's.
    """
    return _Readable(reactor if reactor is not None else _reactor(), descriptor).ready


def open_process(pid: int, start_time: int | None = None) -> int:
    """Return a pidfd of the process `pid`, which must have started at `start_time`, where given.

    Raises ProcessLookupError where there is no such process (any more).
    """
    pidfd = os.pidfd_open(pid)
    if start_time is not None and start_time_of(pid) != start_time:
        os.close(pidfd)
        raise ProcessLookupError(f"process {pid} is another one by now")
    return pidfd


def start_time_of(pid: int) -> int | None:
    """Return when the process `pid` started, in clock ticks since boot; None where it is gone.

    With the number it names a process for as long as the machine runs (proc_pid_stat(5)).
    """
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else int(fields[19])


def state_of(pid: int) -> bytes:
    """Return the letter for what the process `pid` does; X where it is gone (proc_pid_stat(5))."""
    fields = _stat(pid)
    return b"X" if fields is None else fields[0]


def _stat(pid: int) -> list[bytes] | None:
    """Return what the kernel tells of a process, behind its number and command."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command, in parentheses, may hold anything.
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _reactor() -> IReactorFDSet:
    from twisted.internet import reactor

    return cast(IReactorFDSet, reactor)
