"""An exec as the engine knows it: what was asked for, and how it went."""

from __future__ import annotations

import base64
import signal
import time
from contextlib import suppress
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.streams.hub import Hub
from dockerapi.model.execs import ExecConfig


@attrs.define(eq=False)
class Exec:
    """One exec.

    :ivar id: 64 hexadecimal digits.
    :ivar keys: the detach keys as bytes; empty for the default ones.
    :ivar started_with: when its container had started last: a later run does not know this exec.
    :ivar started: whether ExecStart was called; it can be once.
    :ivar exit_code: None until it has ended (or failed to start).
    :ivar pid: its process seen from the host, 0 before it runs.
    :ivar pidfd: of that process while it is followed; None else.
    :ivar ended_at: seconds of the monotonic clock, 0 before.
    """

    id: str
    container: Container
    config: ExecConfig
    hub: Hub
    keys: bytes = b""
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    pidfd: int | None = None
    ended_at: float = 0.0
    started_with: int = attrs.field(init=False)
    _for_begin: list[Deferred[None]] = attrs.field(factory=list)
    _for_end: list[Deferred[None]] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.started_with = self.container.state.started_at

    @property
    def command(self) -> list[str]:
        """The words of its command."""
        return list(self.config.cmd or ())

    @property
    def forgotten(self) -> bool:
        """Whether it was never started, and the run of the container that knew it is over."""
        state = self.container.state
        over = not state.running or state.started_at != self.started_with
        return over and not self.started

    def begin(self, pid: int) -> None:
        """Record that its process exists, and tell those who wait for that."""
        self.pid, self.running = pid, True
        _tell(self._for_begin)

    def send(self, number: int) -> None:
        """Signal its process; harmless where it has ended."""
        if self.pidfd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)

    def end(self, code: int) -> None:
        """Record the end; `tell_end` follows when others were told."""
        self.running = False
        self.exit_code = code
        self.ended_at = time.monotonic()

    def tell_end(self) -> None:
        """Tell those who wait for the end, or for a begin that never was."""
        _tell(self._for_begin)
        _tell(self._for_end)

    async def begun(self) -> None:
        """Return once its process exists, or is known never to exist any more."""
        if not self.running and self.exit_code is None:
            await _wait(self._for_begin)

    async def ended(self) -> None:
        """Return once it has ended, and that was told."""
        if self.exit_code is None:
            await _wait(self._for_end)

    def document(self) -> dict[str, Any]:
        """Return the answer of ExecInspect."""
        config, words = self.config, self.command
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": {
                "tty": config.tty,
                "entrypoint": words[0],
                "arguments": words[1:],
                "privileged": config.privileged,
                **({"user": config.user} if config.user else {}),
            },
            "OpenStdin": config.attach_stdin,
            "OpenStderr": config.attach_stderr,
            "OpenStdout": config.attach_stdout,
            "CanRemove": False,
            "ContainerID": self.container.id,
            # Bytes, which JSON has in base64.
            "DetachKeys": base64.b64encode(self.keys).decode(),
            "Pid": self.pid,
        }


async def _wait(waiters: list[Deferred[None]]) -> None:
    """Be one of `waiters` until they are told; whoever is cancelled is none any more."""
    waiter: Deferred[None] = Deferred()
    waiters.append(waiter)
    try:
        await waiter
    finally:
        if waiter in waiters:
            waiters.remove(waiter)


def _tell(waiters: list[Deferred[None]]) -> None:
    told = tuple(waiters)
    waiters.clear()
    for waiter in told:
        if not waiter.called:
            waiter.callback(None)
