"""Working directories, which a hostile image or container may lead out of its root.

Source: CVE-2024-21626: a directory below /proc may be a descriptor that the runtime has open.
Rule: none below /proc, by whatever name; links are followed by the kernel, beneath the root.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections import deque
from collections.abc import Collection
from pathlib import Path

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.host.beneath import make_directories, open_beneath, opened_root

#: The inode of a proc file system's own root.
PROC_ROOT = 1
#: How many names and links are followed in one path, which is enough for any honest one.
_MOST_STEPS = 4096


def check_workdir(path: str, workdir: str) -> None:
    """Raise `InvalidParameter` where `path` lies below /proc; `workdir` is what it came from."""
    if posixpath.normpath("/" + path.lstrip("/")).startswith("/proc/"):
        raise _below_proc(workdir)


def make_workdir(root: Path, workdir: str) -> None:
    """Make the working directory inside `root` where it is missing.

    Raises `InvalidParameter` where it lies below /proc, by links too, and where it cannot be made.
    """
    check_workdir(workdir, workdir)
    try:
        make_directories(root, workdir)
        with opened_root(root) as directory:
            found = open_beneath(directory, workdir, os.O_PATH | os.O_DIRECTORY)
            try:
                inside = os.readlink(f"/proc/self/fd/{found}").removeprefix(str(root.resolve()))
            finally:
                os.close(found)
    except NotADirectoryError:
        raise InvalidParameter(f"Cannot mkdir: {workdir} is not a directory") from None
    except OSError as error:
        raise InvalidParameter(
            f"cannot make the working directory {workdir}: {error.strerror}"
        ) from None
    check_workdir(inside or "/", workdir)


def check_running_workdir(pid: int, workdir: str) -> None:
    """Raise `InvalidParameter` where `workdir` lies below /proc in a container that runs.

    `pid` is the container's process. What is missing, or no directory, the runtime says itself.
    Blocks for a few system calls.
    """
    check_workdir(workdir, workdir)
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            below = _leads_below_proc(root, workdir, proc_devices(pid))
        finally:
            os.close(root)
    except OSError:
        return
    if below:
        raise _below_proc(workdir)


def _leads_below_proc(root: int, workdir: str, devices: Collection[int]) -> bool:
    """Follow `workdir` inside `root`, name by name, as far as it exists.

    The kernel alone cannot tell: /proc/self leads nowhere for one who is not in the container.
    """
    pending = deque(part for part in workdir.split("/") if part)
    reached = "/"
    for _ in range(_MOST_STEPS):
        if not pending:
            return False
        step = posixpath.normpath(posixpath.join(reached, pending.popleft()))
        found = open_beneath(root, step, os.O_PATH | os.O_NOFOLLOW)
        try:
            status = os.fstat(found)
            if status.st_dev in devices and status.st_ino != PROC_ROOT:
                return True
            if not stat.S_ISLNK(status.st_mode):
                reached = step
                continue
            target = os.readlink("", dir_fd=found)
        finally:
            os.close(found)
        if target.startswith("/"):
            reached = "/"
        pending.extendleft(reversed([part for part in target.split("/") if part]))
    return True


def proc_devices(pid: int) -> set[int]:
    """Return the devices of the file systems of type proc that the process `pid` sees."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.partition(" - ") for line in file]
    numbers = [left.split()[2].split(":") for left, _, right in fields if right.startswith("proc ")]
    return {os.makedev(int(major), int(minor)) for major, minor in numbers}


def _below_proc(workdir: str) -> InvalidParameter:
    return InvalidParameter(f"the working directory '{workdir}' is invalid: it is below /proc")
