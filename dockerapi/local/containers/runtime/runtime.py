"""The OCI runtime: how it is called, and what its words mean.

Source: runc(8), crun(1). Rule: a container is let go and forgotten by hand where that was tried
with this runtime, and else by the runtime itself.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

import msgspec
from twisted.internet.defer import DeferredList

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.runtime.cgroups import remove_cgroups
from dockerapi.local.host.pidfd import exit_of, until_readable
from dockerapi.local.host.spawn import Completed, Spawner, run, spawn
from dockerapi.local.host.threads import in_thread

#: In the order in which they are tried; each keeps its state in a directory of its name.
RUNTIMES = ("crun", "runc")

_NOT_STARTED = "unable to start container process: "
_DURING_INIT = "error during container init: "
_LOGFMT = re.compile(r'level=error msg="((?:[^"\\]|\\.)*)"')
_CRUN_NOT_OPENED = re.compile(r"^open executable: (?:Operation not permitted|Permission denied)$")
_CRUN_NOT_FOUND = re.compile(r"executable file `([^`]*)` not found(?: in \$PATH)?(?:: .*)?")
#: As newer ones say of a command that may not be run, and of one beneath a file (seen with 1.21).
_CRUN_NOT_RUN = re.compile(
    r"the path `([^`]*)` (?:is not a regular file|exists but it is not executable)(?:: .*)?"
)
_CRUN_BENEATH_FILE = re.compile(r"cannot open `([^`]*)`: Not a directory")


class StartFailed(InvalidParameter):
    """The command of a container cannot be run.

    :ivar exit_code: 127 where it is missing, 126 where it may not be run.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def start_error(words: str) -> EngineError:
    """Return the error for what a runtime said when it could not make a container.

    The text is dockerd's, from which clients tell 125, 126 and 127.
    """
    reason = plain(words).removeprefix("runc create failed: ")
    # Current runcs say in whose part of the work it was.
    reason = reason.replace(f"{_NOT_STARTED}exec: ", f"{_NOT_STARTED}{_DURING_INIT}exec: ")
    message = (
        "failed to create task for container: failed to create shim task: "
        f"OCI runtime create failed: runc create failed: {reason}: unknown"
    )
    low = message.lower()
    if "executable file not found" in low or "no such file or directory" in low:
        return StartFailed(message, 127)
    if "permission denied" in low or "not a directory" in low or "is a directory" in low:
        return StartFailed(message, 126)
    return EngineError(message)


def missing_error(program: str) -> StartFailed:
    """Return the error for a runtime that is not there, `program` being its path or name."""
    why = f"fork/exec {program}: no such file or directory"
    if "/" not in program:
        why = f'exec: "{program}": executable file not found in $PATH'
    return StartFailed(
        "failed to create task for container: failed to create shim task: "
        f"OCI runtime create failed: unable to retrieve OCI runtime error: {why}",
        127,
    )


def plain(words: str) -> str:
    """Return the message in a runtime's words: runc logs it, crun puts its name before it."""
    found = _LOGFMT.findall(words)
    if found:
        return str(found[-1]).replace('\\"', '"').replace("\\\\", "\\")
    line = words.strip().splitlines()[-1] if words.strip() else "the runtime failed"
    line = line.removeprefix("crun: ")
    line = _CRUN_NOT_FOUND.sub(_not_found, line)
    line = _CRUN_BENEATH_FILE.sub(r'exec: "\1": stat \1: not a directory', line)
    line = _CRUN_NOT_OPENED.sub("exec: permission denied", line)
    line = _CRUN_NOT_RUN.sub(r'exec: "\1": permission denied', line)
    return f"{_NOT_STARTED}{line}" if line.startswith("exec: ") else line


def _not_found(found: re.Match[str]) -> str:
    name = found[1]
    why = f"stat {name}: no such file or directory"
    return f'exec: "{name}": {why if "/" in name else "executable file not found in $PATH"}'


class Runtime(msgspec.Struct, frozen=True):
    """An OCI runtime that works here.

    :ivar name: ``runc``, ``crun``, or what the configuration calls it.
    :ivar path: the program.
    :ivar version: as it tells itself.
    :ivar root: the directory of its state.
    :ivar spawn: starts a child from which the runtime can work (conmon, or the runtime itself).
    :ivar sealed: a copy of the program in memory, which spares it to copy itself at each start.
    """

    name: str
    path: str
    version: str
    root: Path
    spawn: Spawner = spawn
    sealed: str = ""

    @property
    def program(self) -> str:
        """What is to be run."""
        return self.sealed or self.path

    @property
    def kind(self) -> str:
        """The name of its program, by which it is known what can be done without it."""
        return os.path.basename(self.path)

    @property
    def takes_filters(self) -> bool:
        """Whether it takes a system call filter that is compiled already."""
        return self.kind == "crun"

    @property
    def tells_pipes(self) -> bool:
        """Whether what it writes to its pid file and its log may be written to pipes.

        runc renames its pid file into place.
        """
        return self.kind == "crun"

    @property
    def global_arguments(self) -> tuple[str, ...]:
        """What stands before every command."""
        return (f"--root={self.root}",)

    async def call(self, *arguments: str, stdin: bytes = b"", timeout: float = 60.0) -> Completed:
        """Run one command of the runtime (``kill``, ``pause``, ``delete``, ...) to its end."""
        return await run(
            [self.program, *self.global_arguments, *arguments],
            stdin=stdin,
            timeout=timeout,
            spawner=self.spawn,
        )

    async def check(self, *arguments: str, stdin: bytes = b"") -> None:
        """Run one command; raise `EngineError` with the runtime's words where it fails."""
        done = await self.call(*arguments, stdin=stdin)
        if done.status != 0:
            words = (done.stderr or done.stdout).decode("utf-8", "backslashreplace")
            raise EngineError(plain(words))

    async def start(self, identity: str, pidfd: int) -> None:
        """Let a container's process go, which was made and waits; `pidfd` is its own.

        Raises `EngineError` in the runtime's words.
        """
        fifo = self.root / identity / "exec.fifo"
        if self.kind == "runc" and await _open_gate(fifo, pidfd):
            return
        if self.kind == "crun" and _push_gate(fifo):
            return
        await self.check("start", identity)

    async def delete(self, identity: str, cgroup: str, *, by_hand: bool) -> None:
        """Forget a container that has ended: its state and its cgroup.

        `by_hand` does without a child; else the runtime does it, and kills what is left in it.
        """
        if not by_hand or not await in_thread(self._delete_by_hand, identity, cgroup):
            await self.call("delete", "--force", identity)
            await in_thread(self._delete_by_hand, identity, cgroup)

    def _delete_by_hand(self, identity: str, cgroup: str) -> bool:
        """Remove cgroups and state; False where processes are left in a cgroup."""
        if not remove_cgroups(cgroup):
            return False
        shutil.rmtree(self.root / identity, ignore_errors=True)
        return True


def _push_gate(fifo: Path) -> bool:
    """Do what ``crun start`` does: write to the pipe that the process waits to read.

    Returns False where nobody reads it.
    """
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Before the write: that there is none tells crun that the container runs.
        os.unlink(fifo)
        return os.write(descriptor, b"0") == 1
    finally:
        os.close(descriptor)


async def _open_gate(fifo: Path, pidfd: int) -> bool:
    """Do what ``runc start`` does: read the pipe that the process waits to write to.

    Returns False where there is no such pipe, or the process has ended.
    """
    try:
        descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    word, end = until_readable(descriptor), exit_of(pidfd)
    try:
        # A process that ended before will not write; one that was quick has done both by now.
        await DeferredList([word, end], fireOnOneCallback=True, consumeErrors=True)
        opened = _holds_a_word(descriptor)
    finally:
        word.cancel()
        end.cancel()
        os.close(descriptor)
    with suppress(FileNotFoundError):
        os.unlink(fifo)
    return opened


def _holds_a_word(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 1))
    except BlockingIOError:
        return False
