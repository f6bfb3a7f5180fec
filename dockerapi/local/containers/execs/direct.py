"""An exec without a terminal: run by the runtime itself, over pipes of the server's own.

Source: crun(1), ``exec``. Rule: the runtime waits for the process and ends with its code; it keeps
the reading ends of the outputs too, so that a process goes on when the server is killed (and waits
once a pipe is full, as under dockerd's shim).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import IO, Any

import attrs
import msgspec
from twisted.internet.defer import Deferred

from dockerapi.local.containers.runtime.conmon import RuntimeFailed, in_time, protect
from dockerapi.local.containers.runtime.monitor import UNKNOWN_CODE, kernel_exit_code
from dockerapi.local.containers.runtime.runtime import Runtime
from dockerapi.local.containers.streams.hub import Hub
from dockerapi.local.containers.streams.pipes import PipeStreams
from dockerapi.local.host.pidfd import exit_of, until_readable
from dockerapi.local.host.pipes import LINE_LIMIT, open_pipe
from dockerapi.local.host.spawn import Process, memory_file


@attrs.frozen
class Direct:
    """The process of an exec, and the runtime that waits for it."""

    pid: int
    runtime: Process

    async def end(self, pidfd: int | None) -> int:
        """Return the exit code; the kernel's where the runtime was killed (Linux 6.15)."""
        status = await self.runtime.wait()
        if status >= 0:
            return status
        if pidfd is None:
            return UNKNOWN_CODE
        await exit_of(pidfd)
        code = kernel_exit_code(pidfd)
        return UNKNOWN_CODE if code is None else code


@attrs.frozen
class _Streams:
    """The pipes of one process: the server's ends and its own."""

    ours: tuple[IO[bytes], ...]
    theirs: tuple[IO[bytes] | None, IO[bytes], IO[bytes]]

    @classmethod
    def open(cls, stack: ExitStack, *, stdin: bool) -> _Streams:
        out, its_out = open_pipe(stack)
        err, its_err = open_pipe(stack)
        its_in, given = open_pipe(stack) if stdin else (None, None)
        ours = (out, err) if given is None else (out, err, given)
        for end in ours:
            os.set_blocking(end.fileno(), False)
        return cls(ours, (its_in, its_out, its_err))

    def numbers(self) -> tuple[int | None, int, int]:
        """Return the numbers of its standard streams."""
        stdin, stdout, stderr = self.theirs
        return None if stdin is None else stdin.fileno(), stdout.fileno(), stderr.fileno()

    def hand_over(self, hub: Hub) -> None:
        """Let `hub` have the server's ends."""
        out, err, *given = (os.dup(end.fileno()) for end in self.ours)
        hub.join(partial(PipeStreams, {1: out, 2: err}, given[0] if given else None))

    def close_theirs(self) -> None:
        for end in self.theirs:
            if end is not None:
                end.close()


async def launch(
    runtime: Runtime, container_id: str, process: Mapping[str, Any], hub: Hub | None, *, stdin: bool
) -> Direct:
    """Run an OCI process in a container; returns when it exists.

    `hub` gets its streams, with an input where `stdin` is set; without one they are /dev/null.
    Raises `RuntimeFailed` with the runtime's words. When cancelled, it is let go to its end.
    """
    with ExitStack() as stack:
        told, telling = open_pipe(stack)
        log, logging = open_pipe(stack)
        given = memory_file(stack, "process", msgspec.json.encode(process))
        passed = [given, telling.fileno(), logging.fileno()]
        streams = None if hub is None else _Streams.open(stack, stdin=stdin)
        ends: tuple[int | None, ...] = (None, None, None)
        if streams is not None:
            ends = streams.numbers()
            passed += [end.fileno() for end in streams.ours[:2]]
        child = await runtime.spawn(
            [
                *(runtime.program, *runtime.global_arguments),
                *(f"--log=file:{_path(logging.fileno())}", "exec"),
                *("--process", _path(given), "--pid-file", _path(telling.fileno()), container_id),
            ],
            stdin=ends[0],
            stdout=ends[1],
            stderr=ends[2],
            pass_fds=passed,
        )
        telling.close()
        logging.close()
        if streams is not None:
            streams.close_theirs()
        await in_time(until_readable(told.fileno()), child)
        # One short write, while the runtime keeps the pipe open; nothing where it has ended.
        pid = told.read(LINE_LIMIT)
        if not pid:
            await in_time(Deferred.fromCoroutine(child.wait()), child)
            raise RuntimeFailed(_words(log))
        protect(child.pid)
        if streams is not None and hub is not None:
            streams.hand_over(hub)
        return Direct(int(pid), child)


def _path(descriptor: int) -> str:
    """Return the path by which a child opens a descriptor that it has inherited."""
    return f"/proc/self/fd/{descriptor}"


def _words(log: IO[bytes]) -> str:
    """Return what a runtime that has ended wrote to its log."""
    words = log.read(LINE_LIMIT).decode("utf-8", "backslashreplace").strip()
    return words or "the runtime ended without a word"
