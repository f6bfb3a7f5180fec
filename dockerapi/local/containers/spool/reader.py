"""Reading a log from a cursor on, across all its files.

Rule: nothing is read twice and nothing is left out, whatever is set aside meanwhile; what was
dropped before it was reached is gone, as for everyone.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import attrs

from dockerapi.local.containers.spool.files import Cursor, LogFiles
from dockerapi.local.containers.spool.tail import Tail


class SpoolReader:
    """Reads the log of `files`; a context manager. `read` and `seek_tail` block for the disk.

    :ivar cursor: where the next byte comes from. Who keeps it may go on there in another process.
    """

    def __init__(self, files: LogFiles, cursor: Cursor | None = None) -> None:
        self.files = files
        self.cursor = cursor or Cursor(files.first(), 0)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the open file; harmless when there is none."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

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
                    self.close()
                    self.cursor = Cursor(number + 1, 0)
                    continue
            self.cursor = attrs.evolve(self.cursor, offset=offset + len(piece))
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
            try:
                self._descriptor = self.files.open(self.cursor.number)
            except FileNotFoundError:
                following = self.files.first(after=self.cursor.number)
                if following > self.files.current() or not self.cursor.number < following:
                    return False
                self.cursor = Cursor(following, 0)
                continue
            return True

    def _is_complete(self) -> bool:
        """Tell whether nothing more can be written to the open file.

        conmon closes its file before it makes the next one.
        """
        if self.files.is_written(self._descriptor):
            return False
        return self.cursor.number + 1 < self.files.current() or self.files.path.exists()
