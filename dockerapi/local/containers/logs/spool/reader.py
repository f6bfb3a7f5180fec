"""Reading a log from a cursor on, across all its files.

Rule: nothing is read twice and nothing is left out, whatever is set aside meanwhile. What is
dropped before it is reached is gone, unless the reader holds it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Self

from msgspec import structs

from dockerapi.local.containers.logs.spool.files import Cursor, LogFiles, Part
from dockerapi.local.containers.logs.spool.tail import Tail

#: How many files are held at most.
_MOST = 64


class SpoolReader:
    """Reads the log of `files`; a context manager. All but `more` and `close` block for the disk.

    :ivar cursor: where the next byte comes from. Who keeps it may go on there in another process.
    """

    def __init__(self, files: LogFiles, cursor: Cursor | None = None) -> None:
        self.files = files
        self.cursor = cursor or files.lines_from(files.first())
        self._descriptor = -1
        self._held: dict[int, Part] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what is open; harmless when nothing is."""
        self._leave()
        for part in self._held.values():
            os.close(part.descriptor)
        self._held.clear()

    def hold(self) -> None:
        """Keep what there is now from the cursor on readable, though it be dropped meanwhile.

        A descriptor for each file, which is also disk space while the reader is slow.
        """
        numbers = [number for number in self.files.numbers() if number >= self.cursor.number]
        for number in [*numbers, self.files.current()][:_MOST]:
            with suppress(FileNotFoundError):
                self._held[number] = self.files.take(number)

    def read(self, size: int, end: Cursor | None = None) -> bytes:
        """Return the next 1 to `size` bytes before `end`, or nothing where there are none now."""
        while end is None or self.cursor < end:
            if self._descriptor < 0 and not self._open():
                return b""
            number, offset = self.cursor.number, self.cursor.offset
            if end is not None and number == end.number:
                size = min(size, end.offset - offset)
            piece = os.pread(self._descriptor, size, offset)
            if not piece and self._is_complete():
                # What was written just before it was complete.
                piece = os.pread(self._descriptor, size, offset)
                if not piece:
                    self._leave()
                    # What is empty was dropped.
                    following = number + 1
                    self.cursor = (
                        Cursor(following, 0) if offset else self.files.lines_from(following)
                    )
                    continue
            self.cursor = structs.replace(self.cursor, offset=offset + len(piece))
            return piece
        return b""

    def more(self) -> bool:
        """Tell whether there is more to read now; asks the kernel's memory only."""
        if self._descriptor < 0:
            return self.files.path.exists()
        if os.fstat(self._descriptor).st_size > self.cursor.offset:
            return True
        return not self.files.is_written(self._descriptor) and self.files.path.exists()

    def seek_tail(self, lines: int, end: Cursor) -> None:
        """Move to where the last `lines` lines before `end` begin."""
        tail = Tail(lines)
        kept = [number for number in self.files.numbers() if number < end.number]
        for number in [end.number, *reversed(kept)]:
            try:
                descriptor = self.files.open(number)
            except FileNotFoundError:
                continue
            try:
                limit = end.offset if number == end.number else os.fstat(descriptor).st_size
                offset = tail.look(descriptor, limit)
            finally:
                os.close(descriptor)
            if offset is not None:
                self.cursor = Cursor(number, offset)
                return

    def _open(self) -> bool:
        """Open the file at the cursor, or the next that is there; False where there is none."""
        while True:
            number = self.cursor.number
            try:
                part = self._held.pop(number, None) or self.files.take(number)
            except FileNotFoundError:
                held = [later for later in self._held if later > number]
                following = min([*held, self.files.first(after=number)])
                if not held and following > self.files.current():
                    return False
                self.cursor = self.files.lines_from(following)
            else:
                self._descriptor = self.files.inflated(part)
                return True

    def _leave(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_complete(self) -> bool:
        """Tell whether nothing more can be written to the open file.

        conmon closes its file before it makes the next one.
        """
        if self.files.is_written(self._descriptor):
            return False
        following = self.cursor.number + 1
        return (
            following in self._held or following < self.files.current() or self.files.path.exists()
        )
