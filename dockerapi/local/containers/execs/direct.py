"""An exec without a terminal: run by the runtime itself, over pipes of the server's own.

Source: crun(1), ``exec``. Rule: the runtime waits for the process and ends with its code; it keeps
the reading ends of the outputs too, so that a process goes on when the server is killed (and waits
once a pipe is full, as under dockerd's shim).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import IO, Any

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


class Direct(msgspec.Struct, frozen=True):
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


class _Streams:
    """The pipes of one process: the server's ends, and its own."""

    def __init__(self, stack: ExitStack, streams: Iterable[int]) -> None:
        """Open those of `streams` (0 to 2); all are closed with `stack` that nobody has by then."""
        self._theirs: dict[int, int] = {}
        self._ours: dict[int, int] = {}
        stack.callback(self.close_theirs)
        stack.callback(self._close, self._ours)
        for stream in streams:
            reading, writing = os.pipe2(os.O_CLOEXEC)
            ours, theirs = (writing, reading) if stream == 0 else (reading, writing)
            self._ours[stream], self._theirs[stream] = ours, theirs
            os.set_blocking(ours, False)

    @property
    def theirs(self) -> tuple[int | None, int | None, int | None]:
        """The descriptors of its standard streams, None for those that are not open."""
        return self._theirs.get(0), self._theirs.get(1), self._theirs.get(2)

    @property
    def outputs(self) -> list[int]:
        """The reading ends of its outputs."""
        return [end for stream, end in self._ours.items() if stream]

    def hand_over(self, hub: Hub) -> None:
        """Let `hub` have the server's ends."""
        outputs = dict(self._ours)
        self._ours.clear()
        stdin = outputs.pop(0, None)
        hub.join(partial(PipeStreams, outputs, stdin))

    def close_theirs(self) -> None:
        """Close the process' ends, which it has by now. Harmless twice."""
        self._close(self._theirs)

    def _close(self, ends: dict[int, int]) -> None:
        while ends:
            os.close(ends.popitem()[1])


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
        attached = (0, 1, 2) if stdin else (1, 2)
        streams = _Streams(stack, () if hub is None else attached)
        its_in, its_out, its_err = streams.theirs
        child = await runtime.spawn(
            [
                *(runtime.program, *runtime.global_arguments),
                *(f"--log=file:{_path(logging.fileno())}", "exec"),
                *("--process", _path(given), "--pid-file", _path(telling.fileno()), container_id),
            ],
            stdin=its_in,
            stdout=its_out,
            stderr=its_err,
            pass_fds=[given, telling.fileno(), logging.fileno(), *streams.outputs],
        )
        telling.close()
        logging.close()
        streams.close_theirs()
        await in_time(until_readable(told.fileno()), child)
        # One short write, while the runtime keeps the pipe open; nothing where it has ended.
        pid = told.read(LINE_LIMIT)
        if not pid:
            await in_time(Deferred.fromCoroutine(child.wait()), child)
            raise RuntimeFailed(_words(log))
        protect(child.pid)
        if hub is not None:
            streams.hand_over(hub)
        return Direct(int(pid), child)


def _path(descriptor: int) -> str:
    """Return the path by which a child opens a descriptor that it has inherited."""
    return f"/proc/self/fd/{descriptor}"


def _words(log: IO[bytes]) -> str:
    """Return what a runtime that has ended wrote to its log."""
    words = log.read(LINE_LIMIT).decode("utf-8", "backslashreplace").strip()
    return words or "the runtime ended without a word"
