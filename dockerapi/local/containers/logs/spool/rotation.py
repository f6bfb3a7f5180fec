"""Rotation of the logs of running containers, by rename and reopen.

Rule: conmon is told to open its log again only when nothing is under the log's name, since it would
replace it; and told once, so that a server that died in between is taken up where it was. A log
that does not grow costs nothing.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Never, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.local.containers.logs.spool.changes import Changes, give_up
from dockerapi.local.containers.logs.spool.ctl import said, say
from dockerapi.local.containers.logs.spool.files import LogFiles
from dockerapi.local.host.threads import in_thread, submit

#: Between two looks at a log that grows, in seconds.
SHORTEST, LONGEST = 0.05, 1.0
#: How much faster than lately a log may grow, and how fast one that hardly grew, in bytes a second.
_CAUTION, _BURST = 4, 4_000_000
#: How long conmon may take to open its log again before it is told once more, in seconds.
_PATIENCE = 1.0
_REOPEN = b"2 0 0\n"
#: After a rotation that failed (a full disk), in seconds.
_RETRY = 5.0


class Policy(msgspec.Struct, frozen=True):
    """When a log is rotated, and what is kept of it.

    :ivar max_size: in bytes; None for never.
    :ivar max_files: how many files there may be, with the one that is written. Where it is to be
        alone, the one before is kept until it is half full, so that a log never is empty.
    :ivar compress: whether what is set aside is compressed.
    """

    max_size: int | None = None
    max_files: int = 1
    compress: bool = False


class Rotated(Protocol):
    """What rotation needs to know of a container."""

    @property
    def id(self) -> str: ...  # noqa: D102


class Rotation:
    """Rotates logs while their containers run."""

    log = Logger()

    def __init__(self, changes: Changes, clock: IReactorTime) -> None:
        self._changes = changes
        self._clock = clock
        self._tasks: dict[str, Deferred[None]] = {}
        #: One at a time: compressing is to disturb nobody.
        self._compressing = ThreadPoolExecutor(1, thread_name_prefix="dockerapi-logs")
        self._gone = False

    def start(self, container: Rotated, files: LogFiles, ctl: Path, policy: Policy) -> None:
        """Look after the log of a container whose monitor listens at the pipe `ctl`.

        What a server that died left half-done is finished.
        """
        self.end(container)
        self._changes.tell(files.path)
        if policy.max_size is None:
            return
        # Whether it may be missing for another reason than rotation is of no interest: it is not.
        task = self._tasks[container.id] = Deferred.fromCoroutine(
            self._look_after(files, ctl, policy, policy.max_size)
        )

        def ended(result: Failure | None) -> None:
            if isinstance(result, Failure) and not result.check(CancelledError):
                self.log.failure("rotating {path} failed", failure=result, path=files.path)

        task.addBoth(ended)

    def end(self, container: Rotated) -> None:
        """Look no more after the log of a container that has ended, or is gone."""
        task = self._tasks.pop(container.id, None)
        if task is not None:
            task.cancel()

    def stop(self) -> None:
        """Look after nothing any more; what is half compressed is done anew by a later server."""
        self._gone = True
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        self._compressing.shutdown(wait=False, cancel_futures=True)

    async def _look_after(self, files: LogFiles, ctl: Path, policy: Policy, max_size: int) -> None:
        """Rotate the log whenever it is `max_size` long, for ever."""
        while True:
            try:
                await self._rotate_on(files, ctl, policy, max_size)
            except OSError as error:
                # A full disk: everything is looked at anew then.
                self.log.error("{path} cannot be rotated: {error}", path=files.path, error=error)
            await self._sleep(_RETRY)

    async def _rotate_on(self, files: LogFiles, ctl: Path, policy: Policy, max_size: int) -> Never:
        """As `_look_after`, until the first OSError, which is raised."""
        await in_thread(files.tidy)
        if not await in_thread(files.path.exists):
            await self._reopened(files, ctl)
            await in_thread(files.note_cut, files.current() - 1)
        await in_thread(files.drop, max(policy.max_files - 1, 1))
        self._compress(files, policy)
        size, looked = 0, time.monotonic()
        while True:
            change = self._changes.next(files.path)
            try:
                before, size = size, await in_thread(files.size)
                if size == before:
                    await change
                    size = await in_thread(files.size)
            finally:
                give_up(change)
            now = time.monotonic()
            if size >= max_size:
                await self._rotate(files, ctl, policy)
                size, pause = 0, SHORTEST
            else:
                if policy.max_files == 1 and size >= max_size // 2:
                    await in_thread(files.drop, 0)
                speed = (size - before) / max(now - looked, SHORTEST)
                pause = (max_size - size) / max(speed * _CAUTION, _BURST)
            looked = now
            await self._sleep(min(max(pause, SHORTEST), LONGEST))

    async def _rotate(self, files: LogFiles, ctl: Path, policy: Policy) -> None:
        number = await in_thread(_set_aside, files, policy)
        await in_thread(say, ctl, _REOPEN)
        await self._reopened(files, ctl)
        await in_thread(files.note_cut, number)
        self._changes.tell(files.path)
        self._compress(files, policy)

    async def _reopened(self, files: LogFiles, ctl: Path) -> None:
        """Return when conmon has opened its log again, which it has been told, perhaps."""
        told, pause = time.monotonic(), 0.001
        while not await in_thread(files.path.exists):
            if time.monotonic() - told > _PATIENCE and not await in_thread(said, ctl):
                # It has read everything and made nothing: it was never told.
                await in_thread(say, ctl, _REOPEN)
                told = time.monotonic()
            await self._sleep(pause)
            pause = min(pause * 2, 0.2)

    def _compress(self, files: LogFiles, policy: Policy) -> None:
        """Compress what is to be compressed, beside everything else."""
        if not policy.compress:
            return

        def compress() -> None:
            for number in files.uncompressed():
                if self._gone:
                    return
                with suppress(FileNotFoundError):
                    files.compress(number, lambda: not self._gone)

        submit(self._compressing, compress).addErrback(
            lambda failure: self.log.failure(
                "compressing {path} failed", failure=failure, path=files.path
            )
        )

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._clock, seconds)


def _set_aside(files: LogFiles, policy: Policy) -> int:
    """Set the log aside, and return its number; drop what is too old then.

    One step, for the container may end.
    """
    number = files.set_aside()
    files.drop(max(policy.max_files - 1, 1))
    return number
