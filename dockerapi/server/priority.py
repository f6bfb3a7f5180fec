"""The priority of a server that owns its process: clients should not wait behind its containers.

Source: sched(7); cgroup-v2.rst of the kernel, "CPU". Rule: what this process starts inherits
nothing: the kernel resets its children and threads (SCHED_RESET_ON_FORK), and those of other
sessions are in groups of their own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.logger import Logger

#: How the other threads stand among the sessions of this machine. They hold the interpreter's lock
#: now and then, and the reactor waits for whoever has it, and so for its turn on a processor.
GROUP_NICE = -5
#: After how many seconds a thread must let go of the interpreter's lock when another wants it.
SWITCH_INTERVAL = 0.0005
_GROUP = Path("/proc/self/autogroup")
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")

log = Logger()


def raise_priority() -> None:
    """Have the calling thread, the reactor's, run as soon as it has something to do.

    Where that is not allowed the log says so, and everything is as before.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    if not may_be_real_time(_CGROUPS, _OWN_CGROUP.read_text()):
        log.info(
            "clients may wait while other processes run: a kernel with RT_GROUP_SCHED would limit "
            "no container's processors beside a process of real time in this control group"
        )
        return
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        _raise_group()
    except OSError as error:
        log.info(
            "clients may wait while other processes run: this one may not raise its priority "
            "({reason})",
            reason=error.strerror,
        )


def may_be_real_time(mount: Path, own: str) -> bool:
    """Tell whether a policy of real time keeps nobody from using the cpu controller.

    `mount` is where control groups are, `own` the content of ``/proc/self/cgroup``. Where there is
    version 2 alone, some kernels enable the controller only while no such process is below the
    root; one that has it already either allows that, or refuses the policy.
    """
    path = own.strip().removeprefix("0::/")
    if not (mount / "cgroup.controllers").exists() or not path:
        return True
    return (mount / path / "cpu.max").exists()


def _raise_group() -> None:
    """Raise the group of this process' session, where it is its own and the kernel has groups.

    Otherwise it would be the shell's that started it, with all that runs there.
    """
    if os.getsid(0) == os.getpid() and _GROUP.exists():
        _GROUP.write_text(str(GROUP_NICE))
