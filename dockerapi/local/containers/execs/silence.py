"""Why an exec in a terminal did not start, where the runtime told only the terminal.

Rule: crun hands the terminal over before it looks for the program, and says there what is wrong;
nobody reads it. So it is looked up again, beneath the container's root, and only then claimed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from dockerapi.local.host.beneath import open_beneath

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not(pid: int, program: str, variables: Iterable[str], workdir: str) -> str | None:
    """Return in crun's words why `program` cannot be run in the container of process `pid`.

    None where it looks as if it could. Blocks for a few system calls.
    """
    places = _candidates(program, variables, workdir)
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        modes = [mode for place in places if (mode := _mode(root, place)) is not None]
    finally:
        os.close(root)
    if not modes:
        return f'exec: "{program}": executable file not found in $PATH'
    if not any(stat.S_ISREG(mode) and mode & 0o111 for mode in modes):
        return "exec: permission denied"
    return None


def _candidates(program: str, variables: Iterable[str], workdir: str) -> list[str]:
    if "/" in program:
        return [os.path.join(workdir, program)]
    path = _PATH
    for variable in variables:
        if variable.startswith("PATH="):
            path = variable.removeprefix("PATH=")
    return [os.path.join(workdir, directory, program) for directory in path.split(":")[:100]]


def _mode(root: int, path: str) -> int | None:
    try:
        found = open_beneath(root, path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(found).st_mode
    finally:
        os.close(found)
