"""Working directories, which a hostile image or container may lead out of its root.

Source: CVE-2024-21626: a directory below /proc may be a descriptor that the runtime has open.
Rule: none below /proc, by whatever name; links are followed by the kernel, beneath the root.
"""

from __future__ import annotations

import errno
import os
import posixpath
from pathlib import Path

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.host.beneath import make_directories, open_beneath, opened_root


def check_workdir(path: str, workdir: str) -> None:
    """Raise `InvalidParameter` where `path` lies below /proc; `workdir` is what it came from."""
    if posixpath.normpath("/" + path.lstrip("/")).startswith("/proc/"):
        raise InvalidParameter(f"the working directory '{workdir}' is invalid: it is below /proc")


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
    """
    check_workdir(workdir, workdir)
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return  # It has ended, which the runtime says too.
    try:
        found = open_beneath(root, workdir, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        # So openat2 calls links like those of /proc/PID/fd, and loops, which no one can enter.
        if error.errno == errno.ELOOP:
            check_workdir("/proc/self", workdir)
        return
    finally:
        os.close(root)
    try:
        # Told as a path from the container's own root.
        inside = os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)
    check_workdir(inside, workdir)
