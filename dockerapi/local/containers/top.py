"""ContainerTop: the processes of a container, by ps(1) on the host.

Source: the operation ContainerTop. Rule: ps sees the whole host; only lines of the container's
own processes are answered.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.spec import CGROUP_PARENT
from dockerapi.local.host.spawn import find_program, run

_CGROUPS = Path("/sys/fs/cgroup")


async def top(identity: str, pid: int, arguments: str) -> dict[str, Any]:
    """Return titles and processes of the container `identity` as ``ps ARGUMENTS`` tells them.

    Raises `EngineError` in the words of ps, `InvalidParameter` where its output lacks the PID.
    """
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InvalidParameter(f"ps arguments: {error}") from None
    done = await run([find_program("ps"), *words], timeout=10)
    if done.status != 0:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise EngineError(f"ps: {reason[0] if reason else 'failed'}")
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output")
    column = titles.index("PID")
    members = processes(identity) or {pid}
    rows = (line.split(None, len(titles) - 1) for line in lines[1:])
    return {
        "Titles": titles,
        "Processes": [
            row
            for row in rows
            if len(row) > column and row[column].isdecimal() and int(row[column]) in members
        ],
    }


def processes(identity: str) -> set[int]:
    """Return the numbers of a container's processes, from its cgroup; perhaps none."""
    for parent in (_CGROUPS, _CGROUPS / "pids", _CGROUPS / "devices", _CGROUPS / "memory"):
        path = parent / CGROUP_PARENT / identity
        try:
            return {
                int(number)
                for file in path.rglob("cgroup.procs")
                for number in file.read_text().split()
            } or {int(number) for number in (path / "cgroup.procs").read_text().split()}
        except OSError:
            continue
    return set()
