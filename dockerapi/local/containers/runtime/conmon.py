"""conmon, the monitor of each container: its command line and what it says on its sync pipe.

Source: conmon(8), conmon 2.1. Rule: conmon is told everything by its arguments, and one JSON line
is believed from its pipe; a runtime that failed is quoted in its own words.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TypeVar, cast

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.runtime.runtime import Runtime
from dockerapi.local.host.pipes import open_pipe, read_line
from dockerapi.local.host.spawn import Process, child_environment, memory_file, written
from dockerapi.local.host.syscalls import StrPath

#: conmon is hard to kill when memory is short: with it the exit code would be lost.
OOM_SCORE_ADJ = -999
#: How long a runtime may take to make a process, in seconds: one that hangs must not keep a
#: container's lock for ever.
PATIENCE = 120.0

T = TypeVar("T")


class RuntimeFailed(EngineError):
    """The runtime could not make or run what it was told to; the text is its own."""


class Watch(msgspec.Struct, frozen=True):
    """What conmon is to make and watch.

    :ivar container_id: the container's id, for an exec too.
    :ivar name: for logs of conmon's own.
    :ivar bundle: the directory of ``config.json``; for an exec, its own directory. conmon makes
        its ``attach`` socket and its ``ctl`` pipe in it.
    :ivar directory: where ``pidfile``, ``exits/`` (a file named by the container's id: the code as
        text, its mtime the time of the end) and ``persist/`` (a file ``oom`` where memory ran out)
        are made; for an exec a directory of its own, since its files have the same names.
    :ivar log: the k8s-file log, or None for none.
    :ivar terminal: whether its standard streams are a terminal.
    :ivar stdin: whether there is a standard input to write to.
    :ivar stdin_once: whether the input ends when the (one) attached client ends it; else conmon
        leaves it open whoever comes and goes.
    :ivar process: for an exec, the file of its OCI process.
    """

    container_id: str
    name: str
    bundle: Path
    directory: Path
    log: Path | None = None
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False
    process: Path | None = None

    @property
    def pid_file(self) -> Path:
        """The file that the runtime writes the process number to."""
        return self.directory / "pidfile"

    @property
    def conmon_pid_file(self) -> Path:
        """The file with conmon's own number, which `launch` writes."""
        return self.directory / "conmon.pid"

    @property
    def exit_file(self) -> Path:
        """The file that conmon renames into place at the end."""
        return self.directory / "exits" / self.container_id

    @property
    def oom_file(self) -> Path:
        """The file that conmon makes when the kernel killed for lack of memory."""
        return self.directory / "persist" / "oom"

    @property
    def attach_socket(self) -> Path:
        """The attach socket. Its path may be too long for `connect`: go through /proc/self/fd."""
        return self.bundle / "attach"

    @property
    def control_pipe(self) -> Path:
        """The control pipe: ``1 HEIGHT WIDTH`` resizes, ``2 0 0`` reopens the log."""
        return self.bundle / "ctl"

    def argv(self, conmon: str, runtime: Runtime) -> list[str]:
        """Return conmon's command line."""
        argv = [
            conmon,
            *("--api-version", "1", "--sync", "--no-sync-log", "--full-attach"),
            *("--cid", self.container_id, "--cuuid", self.container_id, "--name", self.name),
            *("--runtime", runtime.program, "--bundle", str(self.bundle)),
            *("--container-pidfile", str(self.pid_file)),
            *("--exit-dir", str(self.directory / "exits")),
            *("--persist-dir", str(self.directory / "persist")),
            *("--log-level", "error"),
            *("--log-path", "none:" if self.log is None else f"k8s-file:{self.log}"),
        ]
        for argument in runtime.global_arguments:
            argv += ["--runtime-arg", argument]
        if self.terminal:
            argv.append("--terminal")
        if self.stdin:
            argv.append("--stdin")
            if not self.stdin_once:
                argv.append("--leave-stdin-open")
        if self.process is not None:
            argv += ["--exec", "--exec-process-spec", str(self.process)]
        return argv

    def prepare(self) -> None:
        """Make the directories that conmon writes to; blocks for less than a millisecond."""
        for name in ("exits", "persist"):
            (self.directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in (
            self.pid_file,
            self.exit_file,
            self.oom_file,
            self.directory / "persist" / "exit",
        ):
            file.unlink(missing_ok=True)


class Monitored(msgspec.Struct, frozen=True):
    """A process that conmon watches.

    :ivar pid: its number, seen from this host.
    :ivar conmon: the monitor, a child of this process.
    """

    pid: int
    conmon: Process


async def launch(
    watch: Watch,
    conmon: str,
    runtime: Runtime,
    env: Mapping[str, str] | None = None,
    attach: Callable[[], None] | None = None,
) -> Monitored:
    """Start conmon, which has the runtime make (or, for an exec, run) the process.

    For an exec, `attach` is called when the attach socket is there and nothing runs yet, so that
    no output is missed. Returns when the process exists. Raises `RuntimeFailed` with the
    runtime's words. When cancelled, conmon is let go to its end.
    """
    watch.prepare()
    with ExitStack() as stack:
        errors = memory_file(stack, "conmon")
        told, line = open_pipe(stack)
        start, go = open_pipe(stack)
        ready, socket_is_there = open_pipe(stack)
        argv = watch.argv(conmon, runtime)
        variables = {
            **(child_environment() if env is None else env),
            "_OCI_SYNCPIPE": str(line.fileno()),
            "_OCI_STARTPIPE": str(start.fileno()),
        }
        descriptors = [line.fileno(), start.fileno()]
        if attach is not None:
            argv.append("--exec-attach")
            variables["_OCI_ATTACHPIPE"] = str(socket_is_there.fileno())
            descriptors.append(socket_is_there.fileno())
        with start, line, socket_is_there:
            process = await runtime.spawn(
                argv,
                env=variables,
                pass_fds=tuple(descriptors),
                stderr=errors,
                # conmon writes a file `oom` where it stands, besides the one that it is told of.
                directory=watch.directory,
            )
        _write(watch.conmon_pid_file, str(process.pid))
        await _let_go(process, go, ready, attach)
        said = await in_time(read_line(told.fileno()), process)
        if not said:
            status = await in_time(Deferred.fromCoroutine(process.wait()), process)
            raise RuntimeFailed(f"conmon failed: {_last_words(errors, status)}")
        pid = _pid_of(said)
    protect(process.pid)
    return Monitored(pid, process)


async def _let_go(
    process: Process, go: IO[bytes], ready: IO[bytes], attach: Callable[[], None] | None
) -> None:
    """Tell conmon to go on, which waits so that its parent can first put it where it belongs."""
    # It may have ended already: what it said tells why.
    with go, suppress(BrokenPipeError):
        os.write(go.fileno(), b"0")
        if attach is None:
            return
        word = await in_time(read_line(ready.fileno()), process)
        if word:
            attach()
            os.write(go.fileno(), b"0")


async def in_time(waiting: Deferred[T], process: Process) -> T:
    """Return what `waiting` brings of `process`, which is a runtime or runs one.

    Where it takes longer than `PATIENCE`, both are killed and `RuntimeFailed` is raised.
    """
    from twisted.internet import reactor

    waiting.addTimeout(PATIENCE, cast(IReactorTime, reactor))
    try:
        return await waiting
    except TimeoutError:
        _kill(process)
        raise RuntimeFailed(f"the runtime did not make a process within {PATIENCE:g} s") from None


def _kill(process: Process) -> None:
    """Kill a runtime, or conmon and the runtime that it waits for."""
    with suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
    process.send(signal.SIGKILL)


def protect(pid: int) -> None:
    """Make the kernel spare the monitor; done after the runtime's start, which would inherit it."""
    with suppress(OSError):
        _write(f"/proc/{pid}/oom_score_adj", str(OOM_SCORE_ADJ))


def _write(path: StrPath, text: str) -> None:
    """Write a few bytes to a file in memory."""
    with open(path, "w") as file:
        file.write(text)


def _last_words(errors: int, status: int) -> str:
    """Return why conmon ended: as it says, or how, where it says nothing."""
    words = written(errors).decode("utf-8", "backslashreplace").strip()
    if words:
        return words
    how = f"killed by signal {-status}" if status < 0 else f"with status {status}"
    return f"it ended without a word, {how}"


def _pid_of(said: bytes) -> int:
    """Return the process number in conmon's line; raise `RuntimeFailed` where there is none."""
    try:
        answer = msgspec.json.decode(said, type=_Said)
    except msgspec.MsgspecError:
        words = said.decode("utf-8", "backslashreplace").strip()
        raise RuntimeFailed(f"conmon failed: {words}") from None
    if answer.data <= 0:
        raise RuntimeFailed(answer.message.strip())
    return answer.data


class _Said(msgspec.Struct):
    data: int
    message: str = ""
