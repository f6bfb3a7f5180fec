"""The root of version 2 of cgroups, made one beneath which containers can have limits.

Source: cgroups(7), "no internal processes": a cgroup with processes passes no controller of memory
or I/O on. The host's root is free of that, the root of a cgroup namespace (a container's, say) is
not. Rule: what may not be written there stays as it is; containers without limits run then.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

#: Where the processes of the root go; others who serve containers in a container name it so, too.
INIT = "init"
#: How often it looks for processes that others have started meanwhile.
_ROUNDS = 10


def pass_controllers_on(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Have all controllers of `root` in its children; return how many processes made room for that.

    Nothing is done where the host's root is seen, or version 1. Blocks for files in memory.
    """
    if not (root / "cgroup.type").exists():
        return 0
    passed = set((root / "cgroup.subtree_control").read_text().split())
    missing = set((root / "cgroup.controllers").read_text().split()) - passed
    if not missing:
        return 0
    moved = 0
    with suppress(OSError):
        moved = _move_processes(root, root / INIT)
    for controller in sorted(missing):
        with suppress(OSError):
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
    return moved


def _move_processes(source: Path, target: Path) -> int:
    target.mkdir(exist_ok=True)
    moved = 0
    for _ in range(_ROUNDS):
        # Those of another namespace of processes have no number here, and cannot be moved.
        found = [pid for pid in (source / "cgroup.procs").read_text().split() if pid != "0"]
        if not found:
            break
        for pid in found:
            with suppress(ProcessLookupError):
                (target / "cgroup.procs").write_text(pid)
                moved += 1
    return moved
