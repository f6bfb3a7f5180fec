"""What may be mounted in a container's /proc, over files that decide on its confinement.

Source: what runc refuses (its `checkProcMount`, of CVE-2019-19921), and crun does not.
Rule: where a mount lies is told by its path inside the root, every link of the image, and of what
is mounted before it, followed.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.mounts.point import TMPFS, MountPoint
from dockerapi.local.containers.security.pathwalk import leads_to, link_of
from dockerapi.local.containers.security.workdir import PROC_ROOT, proc_devices
from dockerapi.local.host.beneath import open_beneath, opened_root

#: What tools (lxcfs) give containers of their own, and nothing depends on.
_HARMLESS = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo"),
        *("net/dev", "sys/kernel/ns_last_pid", "sys/crypto/fips_enabled"),
    )
)


def check_proc(root: Path, points: Iterable[MountPoint]) -> None:
    """Raise `InvalidParameter` for a mount in /proc of `root`, or one over it that is no proc.

    Blocks for a few system calls each.
    """
    with ExitStack() as stack:
        #: Where directories are mounted, and their descriptors, in the order of mounting.
        trees = [("/", stack.enter_context(opened_root(root)))]
        for point in sorted(points, key=lambda one: one.depth):
            where = _inside(trees, point.destination)
            if where == "/proc" and not _is_proc(point):
                raise _refused(point, where, "not of type proc")
            if where.startswith("/proc/") and where not in _HARMLESS:
                raise _refused(point, where, "inside /proc")
            if point.type != TMPFS and os.path.isdir(point.source):
                source = os.open(point.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, source)
                trees.append((where, source))


def _inside(trees: Sequence[tuple[str, int]], path: str) -> str:
    """Return where `path` leads inside a root, whether or not it is there yet.

    The kernel alone cannot tell: /proc is empty until the runtime has mounted it, and what the
    image has there is covered then.
    """
    return leads_to(path, partial(_link, trees), ends_at=lambda step: step.startswith("/proc/"))


def _link(trees: Sequence[tuple[str, int]], path: str) -> str | None:
    """Return what the symbolic link `path` says; None where there is none."""
    where, root = next(
        (where, root)
        for where, root in reversed(trees)
        if where == "/" or path == where or path.startswith(f"{where}/")
    )
    try:
        below = posixpath.relpath(path, where)
        found = open_beneath(root, below, os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return link_of(found)
    finally:
        os.close(found)


def _is_proc(point: MountPoint) -> bool:
    """Tell whether what is mounted is the root of a proc file system."""
    if point.type == TMPFS:
        return False
    try:
        source = os.stat(point.source)
    except OSError:
        return False
    return source.st_ino == PROC_ROOT and source.st_dev in proc_devices(os.getpid())


def _refused(point: MountPoint, where: str, reason: str) -> InvalidParameter:
    source = TMPFS if point.type == TMPFS else point.source
    return InvalidParameter(
        f'error mounting "{source}" to rootfs at "{point.destination}": "{where}" cannot be '
        f"mounted because it is {reason}"
    )
