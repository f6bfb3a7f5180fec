"""The cgroup of a container: where it is, who is in it, and its end.

Rule: a path of a cgroup is relative to each hierarchy, as in ``dockerapi/ID``; everything here but
`cgroup_path` blocks for files in memory.
"""

from __future__ import annotations

import errno
import os
import posixpath
import time
from contextlib import suppress
from pathlib import Path

from dockerapi.model.containers import HostConfig

#: The parent of the cgroups of containers that name no other.
CGROUP_PARENT = "dockerapi"
#: Where cgroups are mounted.
ROOT = Path("/sys/fs/cgroup")
_PAUSE = 0.005


def cgroup_path(identity: str, host: HostConfig | None = None) -> str:
    """Return the path of the cgroup of the container `identity`; `host` may name its parent."""
    parent = host.cgroup_parent if host is not None else ""
    return posixpath.normpath(f"/{parent or CGROUP_PARENT}/{identity}").lstrip("/")


def holds(identity: str, pid: int) -> bool:
    """Tell whether a process is in the cgroup of the container `identity`, whatever its parent."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return False
    return any(f"/{identity}/" in f"{line}/" for line in lines)


def processes(path: str) -> set[int]:
    """Return the numbers of the processes in a cgroup and beneath it; perhaps none."""
    for parent in (ROOT, ROOT / "pids", ROOT / "devices", ROOT / "memory"):
        if (parent / path).is_dir():
            found: set[int] = set()
            # Nothing is said of what vanishes meanwhile.
            for folder, _, _ in os.walk(parent / path):
                with suppress(OSError):
                    found.update(map(int, Path(folder, "cgroup.procs").read_text().split()))
            return found
    return set()


def remove_cgroups(path: str, tries: int = 20) -> bool:
    """Remove a cgroup from every hierarchy; False where processes are left in one.

    Blocks: up to 0.1 s while the kernel lets go of the last process.
    """
    for parent in (ROOT, *(entry for entry in ROOT.iterdir() if entry.is_dir())):
        for attempt in range(tries):
            try:
                _remove_tree(parent / path)
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno != errno.EBUSY or attempt == tries - 1:
                    return False
                time.sleep(_PAUSE)
    return True


def _remove_tree(path: Path) -> None:
    """Remove a cgroup with those that the container made in it (files cannot be removed)."""
    for folder, _, _ in os.walk(path, topdown=False):
        os.rmdir(folder)
