"""Child processes: posix_spawn, exits by pidfd, output in bounded memory files.

Rule: a child gets exactly the descriptors that it is given, few variables, default signals and a
session of its own; nothing here forks, or waits in the reactor's thread for a child to be there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Protocol, cast

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.children import forget, start_expected
from dockerapi.local.host.pidfd import exit_of
from dockerapi.local.host.posixspawn import Descriptors, posix_spawn
from dockerapi.local.host.syscalls import Namespace, StrPath, unshare
from dockerapi.local.host.threads import finished, in_thread, submit

#: How much of a child's output is kept, in bytes; writing more fails in the child.
OUTPUT_LIMIT = 1024 * 1024

#: Signals that Python ignores, which a child must not inherit as ignored.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


#: What of the server's environment children get. Secrets in it are not theirs, and a runtime
#: would hand NOTIFY_SOCKET and LISTEN_FDS on to the container.
_KEPT_VARIABLES = frozenset({"PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE"})


class MissingProgram(EngineError):
    """A program that is not installed; the text names it."""


class TimedOut(EngineError):
    """A child did not end in time and was killed."""


class Completed(msgspec.Struct, frozen=True):
    """How a child ended.

    :ivar status: its exit status; minus the signal's number where one killed it.
    :ivar stdout: the first `OUTPUT_LIMIT` bytes of its output, and `stderr` likewise.
    """

    status: int
    stdout: bytes
    stderr: bytes


class Process:
    """A child.

    :ivar pid: its number, which is its own until `wait` has returned.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:
            # Nobody can wait for it but whoever reaps orphans.
            forget(pid)
            raise
        self._status: int | None = None
        self._waiters: list[Deferred[int]] = []
        exit_of(self._pidfd).addCallback(self._reap)

    async def wait(self) -> int:
        """Return the exit status once the child has ended; minus the signal that killed it."""
        if self._status is not None:
            return self._status
        waiter: Deferred[int] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        return await waiter

    @property
    def status(self) -> int | None:
        """The exit status, or None while the child runs."""
        return self._status

    def send(self, number: int) -> None:
        """Send the signal `number`; nothing happens when the child has ended."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _reap(self, _: None) -> None:
        forget(self.pid)
        encoded = os.waitpid(self.pid, 0)[1]
        os.close(self._pidfd)
        self._status = os.waitstatus_to_exitcode(encoded)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self._status)


@cache
def _inherited() -> tuple[int, ...]:
    """Return the descriptors that a child would inherit from whoever started this process."""
    found = []
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return tuple(found)


def child_environment() -> dict[str, str]:
    """Return the environment that children get: of the server's own what is harmless."""
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


def find_program(name: str) -> str:
    """Return the absolute path of a program; raise `MissingProgram` where there is none."""
    # A service's PATH often lacks sbin, where runc, nft and others live.
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise MissingProgram(f"{name} is not installed")
    return found


async def spawn(
    argv: Sequence[StrPath],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Iterable[int] = (),
    directory: StrPath | None = None,
) -> Process:
    """Start a child with `argv[0]` as its program (found by `find_program` where relative).

    `stdin`, `stdout` and `stderr` are descriptors, /dev/null where None; `pass_fds` are passed
    under their own numbers; `env` replaces `child_environment`; `directory` is where it starts,
    else where this process is. Takes about 0.6 ms, in a thread. When cancelled, the child is there
    before that is raised, so that the descriptors may be closed; it is let go to its end.
    """
    streams = (stdin, stdout, stderr)
    if directory is None:
        return await spawned(in_thread(start_child, argv, streams, env, tuple(pass_fds)))
    return await spawned(
        submit(_wanderer(), start_child, argv, streams, env, tuple(pass_fds), directory)
    )


async def spawned(starting: Deferred[int]) -> Process:
    """Return the child whose number `starting` tells; it is taken up in any case."""
    return await finished(starting.addCallback(Process))


@cache
def _wanderer() -> ThreadPoolExecutor:
    """Return a thread with a working directory of its own, since posix_spawn cannot set one."""
    return ThreadPoolExecutor(1, "dockerapi-spawn", initializer=lambda: unshare(Namespace.FILES))


def start_child(
    argv: Sequence[StrPath],
    streams: tuple[int | None, int | None, int | None],
    env: Mapping[str, str] | None,
    pass_fds: Sequence[int],
    directory: StrPath | None = None,
) -> int:
    """Start a child as `spawn` does, in the namespaces of the calling thread; return its number.

    With a `directory` the thread is there afterwards: it must not share its own with others.
    """
    if directory is not None:
        os.chdir(directory)
    program = os.fspath(argv[0])
    if not os.path.isabs(program):
        program = find_program(program)
    kept = {*streams, *pass_fds}
    given = [(passed, number) for number, passed in enumerate(streams) if passed is not None]
    arguments = [os.fspath(argument) for argument in argv]
    environment = child_environment() if env is None else env
    descriptors = Descriptors(
        close=[number for number in _inherited() if number not in kept],
        null=[
            (number, os.O_RDONLY if number == 0 else os.O_WRONLY)
            for number, passed in enumerate(streams)
            if passed is None
        ],
        # To the same number: it only clears close-on-exec, which all our descriptors have.
        duplicate=[*given, *((number, number) for number in pass_fds)],
    )
    return start_expected(
        partial(posix_spawn, program, arguments, environment, descriptors, _DEFAULT_SIGNALS)
    )


class Spawner(Protocol):
    """Starts children as `spawn` does; perhaps in namespaces of its own."""

    async def __call__(  # noqa: D102
        self,
        argv: Sequence[StrPath],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Iterable[int] = (),
        directory: StrPath | None = None,
    ) -> Process: ...


async def run(
    argv: Sequence[StrPath],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    pass_fds: Iterable[int] = (),
    timeout: float | None = None,
    clock: IReactorTime | None = None,
    spawner: Spawner = spawn,
) -> Completed:
    """Run a child to its end and return its status and output; `spawner` starts it.

    Raises `MissingProgram`; `TimedOut` after `timeout` seconds, when the child is killed. When
    cancelled, the child is killed.
    """
    with contextlib.ExitStack() as stack:
        given = memory_file(stack, "stdin", stdin) if stdin else None
        output = memory_file(stack, "stdout")
        errors = memory_file(stack, "stderr")
        started: list[Process] = []
        starting = Deferred.fromCoroutine(
            spawner(argv, stdin=given, stdout=output, stderr=errors, env=env, pass_fds=pass_fds)
        )
        try:
            await finished(starting.addCallback(started.append))
        except CancelledError:
            for process in started:
                process.send(signal.SIGKILL)
            raise
        (process,) = started
        try:
            status = await _in_time(process, timeout, clock)
        except CancelledError:
            process.send(signal.SIGKILL)
            raise
        if status is None:
            raise TimedOut(f"{os.fspath(argv[0])} did not end within {timeout} s")
        return Completed(status, written(output), written(errors))


def memory_file(stack: contextlib.ExitStack, name: str, content: bytes | None = None) -> int:
    """Return a memory file with `content` to be read, or one that takes `OUTPUT_LIMIT` bytes.

    Unlike a pipe it needs nobody at its other end, and whoever inherits it keeps nobody waiting.
    """
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, descriptor)
    if content is not None:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        os.ftruncate(descriptor, OUTPUT_LIMIT)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def written(descriptor: int) -> bytes:
    """Return what was written to a `memory_file` so far."""
    return os.pread(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR), 0)


async def _in_time(
    process: Process, timeout: float | None, clock: IReactorTime | None
) -> int | None:
    """Return the status of `process`, or None where it had to be killed after `timeout`."""
    if timeout is None:
        return await process.wait()
    late = False

    def kill() -> None:
        nonlocal late
        late = True
        process.send(signal.SIGKILL)

    if clock is None:
        from twisted.internet import reactor

        clock = cast(IReactorTime, reactor)
    alarm = clock.callLater(timeout, kill)
    try:
        status = await process.wait()
    finally:
        if alarm.active():
            alarm.cancel()
    return None if late else status
