"""ContainerTop: the processes of a container, by ps(1) on the host.

Source: the operation ContainerTop. Rule: ps may show the whole host; only lines of the container's
own processes are answered.
"""

from __future__ import annotations

import shlex
from typing import Any

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.runtime.cgroups import processes
from dockerapi.local.host.spawn import find_program, run
from dockerapi.local.host.threads import in_thread


async def top(cgroup: str, pid: int, arguments: str) -> dict[str, Any]:
    """Return titles and processes of a container as ``ps ARGUMENTS`` tells them.

    `cgroup` is its cgroup's path, `pid` its first process.

    Raises `EngineError` in the words of ps, and where its output lacks the PID.
    """
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InvalidParameter(f"ps arguments: {error}") from None
    members = await in_thread(processes, cgroup) or {pid}
    ps = find_program("ps")
    # By their numbers ps finds processes of any user and terminal, whatever else is selected.
    chosen = "-q" + ",".join(map(str, sorted(members)))
    done = await run([ps, *words, chosen], timeout=10)
    if done.status != 0:
        # Not with every option: forests and other selections are of all processes.
        done = await run([ps, *words], timeout=10)
    if done.status != 0:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise EngineError(f"ps: {reason[0] if reason else 'failed'}")
    lines = done.stdout.decode("utf-8", "surrogateescape").splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise EngineError("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = (line.split(None, len(titles) - 1) for line in lines[1:])
    return {
        "Titles": titles,
        "Processes": [
            row
            for row in rows
            if len(row) > column and row[column].isdecimal() and int(row[column]) in members
        ],
    }
