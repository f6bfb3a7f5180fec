"""An exec through a conmon of its own: one with a terminal, or where the runtime wants it so.

Rule: what conmon reads and writes is in a directory of the exec, which goes with it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from dockerapi.local.containers.execs.exec import Exec
from dockerapi.local.containers.runtime.conmon import Monitored, Watch
from dockerapi.local.containers.runtime.conmon import launch as launch_conmon
from dockerapi.local.containers.runtime.monitor import read_end, until_ended
from dockerapi.local.containers.runtime.tools import Tools
from dockerapi.local.host.threads import in_thread


def watch(found: Exec, directory: Path, *, stdin: bool = False) -> Watch:
    """Return what conmon is, or was, told of an exec; `directory` is its own."""
    return Watch(
        container_id=found.container.id,
        name=found.container.name,
        bundle=directory,
        directory=directory,
        terminal=found.config.tty,
        stdin=stdin,
        stdin_once=not found.config.tty,
        process=directory / "process.json",
    )


@attrs.frozen
class Watched:
    """The process of an exec, and the conmon that watches it."""

    pid: int
    _conmon: Deferred[None]
    _watch: Watch
    _clock: IReactorTime

    async def end(self, pidfd: int | None) -> int:
        """Return the exit code, and forget the files."""
        files = (self._watch.exit_file, self._watch.oom_file)
        if pidfd is None:
            await self._conmon
            end = read_end(*files, None, time.time_ns())
        else:
            end = await until_ended(pidfd, self._conmon, *files, self._clock)
        await in_thread(shutil.rmtree, self._watch.directory, True)
        return end.code


async def launch(
    found: Exec,
    told: Watch,
    tools: Tools,
    process: Mapping[str, Any],
    clock: IReactorTime,
    *,
    attached: bool,
) -> Watched:
    """Run an OCI process as `told`; returns when it exists.

    The exec's hub gets its streams where it is `attached`. Raises `RuntimeFailed` with the
    runtime's words, and leaves no files then.
    """
    try:
        await in_thread(_write, told, process)
        monitored = await launch_conmon(
            told,
            tools.conmon,
            tools.runtime_of(found.container.id),
            attach=(lambda: found.hub.connect(told.attach_socket)) if attached else None,
        )
    except Exception:
        await in_thread(shutil.rmtree, told.directory, True)
        raise
    return Watched(monitored.pid, _ended(monitored), told, clock)


def _ended(monitored: Monitored) -> Deferred[None]:
    return Deferred.fromCoroutine(monitored.conmon.wait()).addCallback(lambda _: None)


def _write(told: Watch, process: Mapping[str, Any]) -> None:
    """Write the OCI process of an exec; blocks for a small file."""
    told.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (told.directory / "process.json").write_bytes(msgspec.json.encode(process))
