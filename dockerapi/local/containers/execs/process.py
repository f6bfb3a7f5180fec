"""The process of an exec: described, made, followed to its end.

Rule: it is told of in order: its code can be read, then its event comes, then its waiters wake.
Whoever asked for it may leave at any moment: it is made and followed all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.execs import direct, monitored
from dockerapi.local.containers.execs.exec import Exec
from dockerapi.local.containers.execs.monitored import watch
from dockerapi.local.containers.execs.running import Running
from dockerapi.local.containers.execs.silence import why_not
from dockerapi.local.containers.life.settling import settled
from dockerapi.local.containers.runtime.conmon import RuntimeFailed, Watch
from dockerapi.local.containers.runtime.monitor import UNKNOWN_CODE
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.runtime import plain
from dockerapi.local.containers.runtime.spec import environment, merge_environment, process_spec
from dockerapi.local.containers.runtime.tools import Tools
from dockerapi.local.containers.runtime.users import resolve_user
from dockerapi.local.containers.security.workdir import check_running_workdir
from dockerapi.local.host.pidfd import open_process
from dockerapi.local.host.threads import in_thread
from dockerapi.model.defaults import ContainerDefaults

#: crun's words where a working directory cannot be entered.
_CRUN_CHDIR = re.compile(r"^chdir (?:to )?`(.*)`: (.*)$")
#: How long after its end the output of an exec may be open, in seconds (as dockerd).
LINGER = 2.0
#: The exit code of what is there and cannot be run.
_CANNOT_RUN = 126


class ExecProcesses:
    """Runs execs and follows them."""

    log = Logger()

    def __init__(
        self, places: Places, tell: Callable[[Exec, str], None], clock: IReactorTime
    ) -> None:
        """Call `tell` at the end of an exec that ran or was to run, once its code can be read."""
        self._places = places
        self._tell = tell
        self._clock = clock
        #: Making processes, and following them; given up at `stop`.
        self._tasks: set[Deferred[None]] = set()

    def stop(self) -> None:
        """Follow none any more; they run on."""
        for task in tuple(self._tasks):
            task.cancel()

    def watch(self, found: Exec) -> Watch:
        """Return what the conmon of an exec is told by; it has one only with a terminal."""
        return watch(found, self._directory(found))

    def _directory(self, found: Exec) -> Path:
        return self._places.directories(found.container).run / "execs" / found.id

    async def check_user(self, container: Container, user: str) -> None:
        """Raise `InvalidParameter` where a container that runs does not know ``USER[:GROUP]``."""
        await in_thread(resolve_user, self._places.directories(container).merged, user)

    async def run(
        self, found: Exec, tools: Tools, size: tuple[int, int] | None, *, attached: bool
    ) -> None:
        """Run the process; returns when it exists.

        One that is not attached has no input, and nobody gets its output. Raises `ExecFailed`.
        """
        made: Deferred[None] = Deferred()
        making = Deferred.fromCoroutine(self._make(found, tools, size, attached=attached))
        making.addCallbacks(made.callback, made.errback)
        self._keep(making)
        await made

    async def _make(
        self, found: Exec, tools: Tools, size: tuple[int, int] | None, *, attached: bool
    ) -> None:
        try:
            await settled(found.container, self._clock)
            process = await in_thread(self._describe, found, size, tools.host.defaults)
            running = await self._launch(found, process, tools, attached=attached)
            self._begun(found, running)
        except CancelledError:
            # The server stops; what is made of it runs on.
            self._never_ran(found, _CANNOT_RUN)
            raise
        except Exception as error:
            failed = await self._failed(found, error)
            self._never_ran(found, failed.exit_code)
            raise failed from error

    async def _failed(self, found: Exec, error: Exception) -> ExecFailed:
        """Return the error for an exec that did not start because of `error`."""
        if not isinstance(error, EngineError):
            self.log.failure("the exec {id} was not started", id=found.id)
            return ExecFailed(f"OCI runtime exec failed: {error}: unknown", _CANNOT_RUN)
        told: EngineError = error
        if found.config.tty and isinstance(error, RuntimeFailed):
            told = await in_thread(self._explained, found, error)
        return _exec_error(told, found.command[0])

    def _never_ran(self, found: Exec, code: int) -> None:
        """Record the end of an exec that had no process: as in dockerd, without an event."""
        found.hub.close()
        self._record(found, code)
        found.tell_end()

    def _explained(self, found: Exec, error: RuntimeFailed) -> RuntimeFailed:
        """Return `error`, in other words where those that it has say nothing."""
        if "it ended without a word" not in error.message:
            return error
        container, config = found.container, found.config
        variables = merge_environment(environment(container, tty=config.tty), config.env or ())
        workdir = config.working_dir or container.config.working_dir or "/"
        why = why_not(container.state.pid, found.command[0], variables, workdir)
        return error if why is None else RuntimeFailed(why)

    async def _launch(
        self, found: Exec, process: Mapping[str, Any], tools: Tools, *, attached: bool
    ) -> Running:
        runtime = tools.runtime_of(found.container.id)
        stdin = found.config.attach_stdin and attached
        if runtime.tells_pipes and not found.config.tty:
            hub = found.hub if attached else None
            return await direct.launch(runtime, found.container.id, process, hub, stdin=stdin)
        told = watch(found, self._directory(found), stdin=stdin)
        return await monitored.launch(found, told, tools, process, self._clock, attached=attached)

    def _begun(self, found: Exec, running: Running) -> None:
        """Record that the process of an exec exists, and follow it."""
        with suppress(EngineError, OSError):
            # It may have ended already; who waits for it tells.
            found.pidfd = open_process(running.pid)
        found.begin(running.pid)
        following = Deferred.fromCoroutine(self._follow(found, running))
        following.addErrback(self._lost, found)
        self._keep(following)

    async def _follow(self, found: Exec, running: Running) -> None:
        """Wait for the end of a process that runs, and record it."""
        pidfd = found.pidfd
        try:
            code = await running.end(pidfd)
        finally:
            found.pidfd = None
            if pidfd is not None:
                os.close(pidfd)
        self._end(found, code)
        # What it started may still write.
        while found.hub.connected:
            await deferLater(self._clock, LINGER)
            found.hub.finish()

    def _lost(self, failure: Failure, found: Exec) -> None:
        """Record the end of an exec that cannot be followed, unless nobody wants to any more."""
        if failure.check(CancelledError):
            return
        self.log.failure("the exec {id} cannot be followed", id=found.id, failure=failure)
        if found.exit_code is None:
            self._end(found, UNKNOWN_CODE)

    def _keep(self, task: Deferred[None]) -> None:
        """Remember a task while it runs."""
        self._tasks.add(task)
        task.addBoth(lambda _: self._tasks.discard(task))

    def _end(self, found: Exec, code: int) -> None:
        self._record(found, code)
        self._tell(found, str(code))
        found.tell_end()

    def _record(self, found: Exec, code: int) -> None:
        found.end(code)
        if found.id in found.container.exec_ids:
            found.container.exec_ids.remove(found.id)

    def _describe(
        self, found: Exec, size: tuple[int, int] | None, defaults: ContainerDefaults
    ) -> dict[str, Any]:
        """Return the OCI process of an exec; blocks for small files."""
        container, config = found.container, found.config
        root = self._places.directories(container).merged
        workdir = config.working_dir or container.config.working_dir or "/"
        if not workdir.startswith("/"):
            raise RuntimeFailed("exec failed: Cwd must be an absolute path")
        check_running_workdir(container.state.pid, workdir)
        host = container.host_config
        if config.privileged:
            host = structs.replace(host, privileged=True)
        user = resolve_user(root, config.user or container.config.user, host.group_add or ())
        variables = merge_environment(environment(container, tty=config.tty), config.env or ())
        process = process_spec(host, user, found.command, variables, workdir, defaults.ulimits)
        process["terminal"] = config.tty
        if config.tty and size:
            process["consoleSize"] = {"height": size[0], "width": size[1]}
        return process


class ExecFailed(InvalidParameter):
    """The command of an exec cannot be run; `exit_code` is 126 or 127."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _exec_error(error: EngineError, program: str) -> ExecFailed:
    """Return the error for an exec of `program` that did not start, in dockerd's words."""
    if not isinstance(error, RuntimeFailed):
        return ExecFailed(error.message, _CANNOT_RUN)
    words = plain(error.message)
    if not words.startswith("exec failed"):
        words = words.removeprefix("unable to start container process: ")
        words = f"exec failed: unable to start container process: {_as_runc(words, program)}"
    low = words.lower()
    missing = "executable file not found" in low or "no such file or directory" in low
    return ExecFailed(f"OCI runtime exec failed: {words}: unknown", 127 if missing else _CANNOT_RUN)


def _as_runc(words: str, program: str) -> str:
    """Return what crun says of an exec's start as runc says it."""
    chdir = _CRUN_CHDIR.match(words)
    if chdir:
        return f'chdir to cwd ("{chdir[1]}") set in config.json failed: {chdir[2].lower()}'
    if words == "exec: permission denied":
        return f'exec: "{program}": permission denied'
    if "/" in program and words.endswith("executable file not found in $PATH"):
        return f'exec: "{program}": stat {program}: no such file or directory'
    return words
