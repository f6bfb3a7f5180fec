"""Runs a health check's command as an exec, and keeps the beginning of its output.

Rule: what takes too long is killed; what it wrote until then is told.
"""

from __future__ import annotations

import signal

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.execs.exec import Exec
from dockerapi.local.containers.execs.operations import Execs
from dockerapi.local.containers.health.health import OUTPUT_LIMIT
from dockerapi.local.containers.streams.hub import Follower
from dockerapi.model.execs import ExecConfig

_OUTPUTS = (1, 2)


class ExecProbe:
    """See `dockerapi.local.containers.health.monitor.Probe`."""

    def __init__(self, execs: Execs, clock: IReactorTime) -> None:
        self._execs = execs
        self._clock = clock

    async def __call__(
        self, container: Container, argv: tuple[str, ...], timeout: float
    ) -> tuple[int | None, bytes]:
        """Run `argv` in `container` for `timeout` seconds at most.

        Returns its exit code, or None where it was killed, and its output. Raises `EngineError`
        where it cannot be run.
        """
        config = ExecConfig(attach_stdout=True, attach_stderr=True, cmd=list(argv))
        made = self._execs.make(container, config)
        follower = made.hub.follow(_OUTPUTS, framed=False)
        try:
            await self._execs.run(made)
            return await self._until_ended(made, follower, timeout)
        finally:
            follower.leave()
            # Nobody asks for its end, and there may be very many.
            self._execs.forget(made)

    async def _until_ended(
        self, made: Exec, follower: Follower, timeout: float
    ) -> tuple[int | None, bytes]:
        output = bytearray()

        async def take() -> None:
            while data := await follower.next():
                output.extend(data[: OUTPUT_LIMIT - len(output)])
            await made.ended()

        late = False

        def kill() -> None:
            nonlocal late
            late = True
            made.send(signal.SIGKILL)

        taking = Deferred.fromCoroutine(take())
        alarm = self._clock.callLater(timeout, kill)
        try:
            await taking
        finally:
            if alarm.active():
                alarm.cancel()
        return None if late else made.exit_code, bytes(output)
