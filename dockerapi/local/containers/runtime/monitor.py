"""Learning how a container ended: from its own process, from conmon, from the exit file.

Rule: the code is conmon's word; where conmon was killed, the kernel's (Linux 6.15), and where that
is not to be had, it is said to be unknown by `UNKNOWN_CODE`.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from contextlib import suppress
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from dockerapi.local.host.pidfd import exit_of

#: The exit code of a container that nobody could tell of.
UNKNOWN_CODE = 255
#: How long conmon may take from the end of its container to its own, in seconds: it still empties
#: the pipes.
MONITOR_PATIENCE = 2.0
#: How long whoever reaps a process that lost its monitor may take, and how often it is looked for,
#: in seconds.
_REAPED, _PAUSE = 1.0, 0.02
_PIDFD_GET_INFO = 0xC040FF0B
_INFO_EXIT = 1 << 3


class End(msgspec.Struct, frozen=True):
    """How a container ended.

    :ivar finished_at: nanoseconds since 1970.
    """

    code: int
    finished_at: int
    oom_killed: bool = False


async def until_ended(
    pidfd: int, conmon: Deferred[None], exit_file: Path, oom_file: Path, clock: IReactorTime
) -> End:
    """Return how the container of `pidfd` ended, once it has.

    `conmon` fires at the end of its monitor, which may be early (where it was killed).
    """
    await exit_of(pidfd)
    if not conmon.called:
        # Its own, so that who is cancelled here is told apart from a monitor that is given up.
        over: Deferred[None] = Deferred()
        conmon.addBoth(lambda _: over.callback(None))
        alarm = clock.callLater(MONITOR_PATIENCE, conmon.cancel)
        try:
            await over
        finally:
            if alarm.active():
                alarm.cancel()
    ended_at = time.time_ns()
    code = None if _is_told(exit_file) else await _told_by_kernel(pidfd, clock)
    return read_end(exit_file, oom_file, code, ended_at)


def _is_told(exit_file: Path) -> bool:
    return exit_file.exists()


def read_end(exit_file: Path, oom_file: Path, otherwise: int | None, now: int) -> End:
    """Return what the exit file tells; without one the code `otherwise` and the time `now`."""
    oom_killed = oom_file.exists()
    try:
        text = exit_file.read_text()
        return End(int(text), exit_file.stat().st_mtime_ns, oom_killed)
    except (OSError, ValueError):
        return End(UNKNOWN_CODE if otherwise is None else otherwise, now, oom_killed)


def is_there(pid_file: Path) -> bool:
    """Tell whether the conmon of a pid file still runs."""
    try:
        return Path(f"/proc/{int(pid_file.read_text())}/comm").read_text() == "conmon\n"
    except (OSError, ValueError):
        return False


def kernel_exit_code(pidfd: int) -> int | None:
    """Return the exit code of a process that has ended, as the kernel keeps it.

    None where it does not, or not yet: until it is reaped it tells the parent alone. A signal's
    number counts from 128, as for shells.
    """
    with suppress(ChildProcessError):
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            signalled = ended.si_code != os.CLD_EXITED
            return ended.si_status + 128 * signalled
    info = bytearray(64)
    struct.pack_into("=Q", info, 0, _INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    mask, status = struct.unpack_from("=Q52xi", info)
    if not mask & _INFO_EXIT:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


async def _told_by_kernel(pidfd: int, clock: IReactorTime) -> int | None:
    """Return the exit code of a process that has ended, which someone is about to reap."""
    end = clock.seconds() + _REAPED
    while (code := kernel_exit_code(pidfd)) is None and clock.seconds() < end:
        await deferLater(clock, _PAUSE)
    return code
