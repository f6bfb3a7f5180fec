"""Waiting ahead for the kernel, so that the next process is put into its cgroup without a wait.

Source: the kernel's `cgroup_threadgroup_rwsem`. The first writer after a quiet time waits some
10 ms for a grace period of RCU; who follows within the next one does not. Rule: writing to the own
``cgroup.procs`` moves nothing, and is done in a thread.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


class GracePeriod:
    """Has the grace period pass while other things are prepared."""

    def __init__(self) -> None:
        self._file = _own_processes()
        self._thread = ThreadPoolExecutor(1, "dockerapi-grace")
        self._passing: Future[None] | None = None

    def begin(self) -> None:
        """Begin a grace period, unless one is under way; returns at once."""
        if self._file is not None and (self._passing is None or self._passing.done()):
            self._passing = self._thread.submit(_stay_here, self._file)

    def close(self) -> None:
        """Begin no more."""
        self._file = None
        self._thread.shutdown(wait=False)


def _stay_here(processes: Path) -> None:
    """Put this process where it is: nothing changes, but the lock is taken for writing."""
    try:
        with open(processes, "wb", buffering=0) as file:
            file.write(b"0")
    except OSError:
        # Not ours to write, as in a container: processes are then put into cgroups as ever.
        return


def _own_processes() -> Path | None:
    """Return the ``cgroup.procs`` of this process' cgroup in one hierarchy; None without one."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = "" if not controllers else controllers.removeprefix("name=")
        for found in (_CGROUPS / name, _CGROUPS / "unified" if not name else None):
            processes = found / path.lstrip("/") / "cgroup.procs" if found is not None else None
            if processes is not None and processes.is_file():
                return processes
    return None
