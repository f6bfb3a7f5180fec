"""Feeding a log driver from the spool.

Rule: the cursor is written down after what it passes was delivered, so a crash repeats a second's
messages at most and loses none; a receiver that is away is tried again, and nobody waits for it.
"""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.local.containers.logs.drivers.message import Driver, Message, Messages, Undelivered
from dockerapi.local.containers.logs.spool.changes import Changes, give_up
from dockerapi.local.containers.logs.spool.files import Cursor, LogFiles
from dockerapi.local.containers.logs.spool.reader import SpoolReader
from dockerapi.local.host.threads import finished, in_thread

_PIECE = 64 * 1024
#: How many messages are given to a driver at once: so many may come twice when a receiver fails.
_BATCH = 64
#: How long a feed waits for word of a change before it looks itself, in seconds.
_LOOK = 5.0
#: How old the cursor on disk may be, in seconds.
_AGE = 1.0
#: Between two tries of a receiver that is away, in seconds.
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 30.0


class Feed:
    """Feeds `driver` from `files`, until `end` and then until all is delivered."""

    log = Logger()

    def __init__(
        self, files: LogFiles, driver: Driver, changes: Changes, clock: IReactorTime
    ) -> None:
        self._files = files
        self._driver = driver
        self._changes = changes
        self._clock = clock
        self._starts = 0
        self._ending = False
        self._kept = cursor_path(files)
        self._delivered: Cursor | None = None
        self._written = 0.0
        self._failed = False
        self._task: Deferred[None] | None = None

    def start(self) -> None:
        """Feed from where the last feed of this log ended, also in another process."""
        self._starts += 1
        self._ending = False
        if self._task is None:
            self._task = Deferred.fromCoroutine(self._run())
            self._task.addBoth(self._ended)

    def end(self) -> None:
        """Stop when all that is there now is delivered."""
        self._ending = True
        self._changes.tell(self._files.path)

    def give_up(self) -> None:
        """Stop at once; the log is gone, or about to be."""
        self._delivered = None
        self.stop()

    def stop(self) -> None:
        """Stop at once; what is not delivered waits."""
        if self._task is not None:
            self._task.cancel()

    def _ended(self, result: Failure | None) -> None:
        self._task = None
        self._driver.close()
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("sending {path} failed", failure=result, path=self._files.path)

    async def _run(self) -> None:
        cursor = await in_thread(read_cursor, self._kept)
        messages = Messages()
        try:
            with await in_thread(SpoolReader, self._files, cursor) as reader:
                await finished(in_thread(reader.hold))
                while True:
                    # Asked before reading: what was written last is read after.
                    starts, ending = self._starts, self._ending
                    piece = await finished(in_thread(reader.read, _PIECE))
                    if piece:
                        await self._deliver(messages.feed(piece))
                        await self._keep(_before(reader.cursor, messages.loose))
                    elif not ending:
                        await self._change(reader)
                    else:
                        await self._deliver(messages.finish())
                        self._delivered = reader.cursor
                        await self._keep_now()
                        if self._starts == starts:
                            return
        except BaseException:
            await self._keep_now()
            raise

    async def _deliver(self, messages: list[Message]) -> None:
        """Give `messages` to the driver, as often as it takes."""
        for start in range(0, len(messages), _BATCH):
            batch, pause = messages[start : start + _BATCH], _FIRST_PAUSE
            while True:
                try:
                    await self._driver.send(batch)
                    break
                except Undelivered as error:
                    self._driver.close()
                    if pause == _FIRST_PAUSE:
                        self.log.warn(
                            "{path} waits for its receiver: {error}",
                            path=self._files.path,
                            error=error,
                        )
                await deferLater(self._clock, pause)
                pause = min(pause * 2, _LAST_PAUSE)

    async def _change(self, reader: SpoolReader) -> None:
        change = self._changes.next(self._files.path, _LOOK)
        try:
            if not self._ending and not reader.more():
                await change
        finally:
            give_up(change)

    async def _keep(self, cursor: Cursor | None) -> None:
        """Note that what is before `cursor` was delivered; None where that is not known."""
        if cursor is None:
            return
        self._delivered = cursor
        if time.monotonic() - self._written > _AGE:
            await self._keep_now()

    async def _keep_now(self) -> None:
        """Write down what was delivered, where there is room for it."""
        self._written = time.monotonic()
        if self._delivered is None:
            return
        try:
            await finished(in_thread(write_cursor, self._kept, self._delivered))
        except OSError as error:
            # A full disk: what was delivered since the last cursor comes twice after a crash.
            if not self._failed:
                self.log.error("{path} cannot be written: {error}", path=self._kept, error=error)
            self._failed = True
        else:
            self._failed = False


def cursor_path(files: LogFiles) -> Path:
    """Return where the cursor of a log's feed is kept."""
    return files.path.with_name(f"{files.path.name}.sent")


def read_cursor(path: Path) -> Cursor | None:
    """Return the cursor that is kept at `path`; None where there is none."""
    try:
        number, offset = path.read_text().split()
        return Cursor(int(number), int(offset))
    except (OSError, ValueError):
        return None


def write_cursor(path: Path, cursor: Cursor) -> None:
    """Keep `cursor` at `path`; harmless when the log is gone."""
    part = path.with_suffix(".new")
    try:
        part.write_text(f"{cursor.number} {cursor.offset}\n")
        part.rename(path)
    except FileNotFoundError:
        # The container was removed.
        return


def _before(cursor: Cursor, loose: int | None) -> Cursor | None:
    """Return where `loose` bytes before `cursor` is, if that is known and in the same file."""
    if loose is None or loose > cursor.offset:
        return None
    return Cursor(cursor.number, cursor.offset - loose)
