"""An exec as the engine knows it: what was asked for, and how it went."""

from __future__ import annotations

import time
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.hub import Hub
from dockerapi.model.containers import as_words
from dockerapi.model.execs import ExecConfig


@attrs.define(eq=False)
class Exec:
    """One exec.

    :ivar id: 64 hexadecimal digits.
    :ivar started: whether ExecStart was called; it can be once.
    :ivar exit_code: None until it has ended (or failed to start).
    :ivar pid: its process seen from the host, 0 before it runs.
    :ivar ended_at: seconds of the monotonic clock, 0 before.
    """

    id: str
    container: Container
    config: ExecConfig
    hub: Hub
    started: bool = False
    running: bool = False
    exit_code: int | None = None
    pid: int = 0
    ended_at: float = 0.0
    _waiters: list[Deferred[None]] = attrs.field(factory=list)

    @property
    def command(self) -> list[str]:
        """The words of its command."""
        return as_words(self.config.cmd)

    def end(self, code: int) -> None:
        """Record the end, and tell those who wait for it."""
        self.running = False
        self.exit_code = code
        self.ended_at = time.monotonic()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.called:
                waiter.callback(None)

    async def ended(self) -> None:
        """Return once it has ended."""
        if self.exit_code is None:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter

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
            "DetachKeys": config.detach_keys,
            "Pid": self.pid,
        }
