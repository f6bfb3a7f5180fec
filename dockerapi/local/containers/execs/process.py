"""The process of an exec: described, made through a conmon of its own, followed to its end.

Rule: it is told of in order: its code can be read, then its event comes, then its waiters wake.
Whoever asked for it may leave at any moment: it is made and followed all the same.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.execs.exec import Exec
from dockerapi.local.containers.execs.silence import why_not
from dockerapi.local.containers.runtime.conmon import RuntimeFailed, Watch, launch
from dockerapi.local.containers.runtime.monitor import UNKNOWN_CODE, read_end, until_ended
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.runtime import plain
from dockerapi.local.containers.runtime.spec import environment, merge_environment, process_spec
from dockerapi.local.containers.runtime.tools import Tools
from dockerapi.local.containers.runtime.users import resolve_user
from dockerapi.local.containers.security.workdir import check_running_workdir
from dockerapi.local.host.pidfd import open_process
from dockerapi.local.host.threads import in_thread

#: crun's words where a working directory cannot be entered.
_CRUN_CHDIR = re.compile(r"^chdir `(.*)`: (.*)$")
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

    def watch(self, found: Exec, *, stdin: bool = False) -> Watch:
        """Return what conmon is, or was, told of an exec."""
        directory = self._places.directories(found.container).run / "execs" / found.id
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
        watch = self.watch(found, stdin=found.config.attach_stdin and attached)
        try:
            await in_thread(self._write_process, found, size, watch)
            await self._launch(found, watch, tools, attached=attached)
        except CancelledError:
            # The server stops; what conmon makes of it runs on.
            self._never_ran(found, _CANNOT_RUN)
            raise
        except Exception as error:
            failed = await self._failed(found, error)
            self._never_ran(found, failed.exit_code)
            await in_thread(shutil.rmtree, watch.directory, True)
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

    async def _launch(self, found: Exec, watch: Watch, tools: Tools, *, attached: bool) -> None:
        monitored = await launch(
            watch,
            tools.conmon,
            tools.runtime_of(found.container.id),
            attach=(lambda: found.hub.connect(watch.attach_socket)) if attached else None,
        )
        with suppress(EngineError, OSError):
            # It may have ended already; its monitor tells.
            found.pidfd = open_process(monitored.pid)
        found.begin(monitored.pid)
        conmon = Deferred.fromCoroutine(monitored.conmon.wait())
        watching = Deferred.fromCoroutine(
            self._follow(found, watch, conmon.addCallback(lambda _: None))
        )
        watching.addErrback(self._lost, found)
        self._keep(watching)

    async def _follow(self, found: Exec, watch: Watch, conmon: Deferred[None]) -> None:
        """Wait for the end of a process that runs, and record it."""
        pidfd = found.pidfd
        if pidfd is None:
            await conmon
            end = read_end(watch.exit_file, watch.oom_file, None, time.time_ns())
        else:
            try:
                end = await until_ended(pidfd, conmon, watch.exit_file, watch.oom_file, self._clock)
            finally:
                found.pidfd = None
                os.close(pidfd)
        self._end(found, end.code)
        await in_thread(shutil.rmtree, watch.directory, True)

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

    def _write_process(self, found: Exec, size: tuple[int, int] | None, watch: Watch) -> None:
        """Write the OCI process of an exec; blocks for small files."""
        container, config = found.container, found.config
        root = self._places.directories(container).merged
        workdir = config.working_dir or container.config.working_dir or "/"
        if not workdir.startswith("/"):
            raise RuntimeFailed("exec failed: Cwd must be an absolute path")
        check_running_workdir(container.state.pid, workdir)
        host = container.host_config
        if config.privileged:
            host = msgspec.structs.replace(host, privileged=True)
        user = resolve_user(root, config.user or container.config.user, host.group_add or ())
        variables = merge_environment(environment(container, tty=config.tty), config.env or ())
        process = process_spec(host, user, found.command, variables, workdir)
        process["terminal"] = config.tty
        if config.tty and size:
            process["consoleSize"] = {"height": size[0], "width": size[1]}
        watch.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (watch.directory / "process.json").write_bytes(msgspec.json.encode(process))


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
