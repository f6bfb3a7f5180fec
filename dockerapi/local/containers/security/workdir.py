"""Working directories, which a hostile image or container may lead out of its root.

Source: CVE-2024-21626: a directory below /proc may be a descriptor that the runtime has open.
Rule: none below /proc, by whatever name; links are followed by the kernel, beneath the root.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection
from functools import partial
from pathlib import Path

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.security.pathwalk import TooManySteps, leads_to, link_of
from dockerapi.local.host.beneath import make_directories, open_beneath, opened_root

#: The inode of a proc file system's own root.
PROC_ROOT = 1


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
            leads_to(workdir, partial(_link_outside_proc, root, proc_devices(pid)))
        finally:
            os.close(root)
    except (_BelowProc, TooManySteps):
        raise _below_proc(workdir) from None
    except OSError:
        return


class _BelowProc(Exception):
    """A place in a file system of type proc that is not its root."""


def _link_outside_proc(root: int, devices: Collection[int], path: str) -> str | None:
    """Return what the symbolic link `path` inside `root` says; None where there is no link.

    Raises `_BelowProc` for what lies there: the kernel alone cannot tell, since /proc/self leads
    nowhere for one who is not in the container. Raises OSError where nothing is there.
    """
    found = open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        status = os.fstat(found)
        if status.st_dev in devices and status.st_ino != PROC_ROOT:
            raise _BelowProc
        return link_of(found)
    finally:
        os.close(found)


def proc_devices(pid: int) -> set[int]:
    """Return the devices of the file systems of type proc that the process `pid` sees."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.partition(" - ") for line in file]
    numbers = [left.split()[2].split(":") for left, _, right in fields if right.startswith("proc ")]
    return {os.makedev(int(major), int(minor)) for major, minor in numbers}


def _below_proc(workdir: str) -> InvalidParameter:
    return InvalidParameter(f"the working directory '{workdir}' is invalid: it is below /proc")
