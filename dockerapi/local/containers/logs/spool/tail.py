"""Where the last lines of a log begin, found from its end.

Rule: lines of both streams count, as under dockerd; a line in several parts (tagged P) counts once.
Pieces that are passed over whole are only counted, which costs no Python for each line.
"""

from __future__ import annotations

import os

_PIECE = 128 * 1024


class Tail:
    """Looks for the last `lines` lines, file by file from the last one back."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._at_end = True

    def look(self, descriptor: int, end: int) -> int | None:
        """Return where the lines begin in a file of `end` bytes; None where they begin before."""
        if self._lines == 0 and self._at_end:
            return end
        rest = b""
        while end > 0:
            start = max(0, end - _PIECE)
            block = os.pread(descriptor, end - start, start) + rest
            # The block's first line may begin before it: it waits for the next turn.
            first = 0 if start == 0 else block.find(b"\n") + 1 or len(block)
            offset = self._count(block[first:])
            if offset is not None:
                return start + first + offset
            rest, end = block[:first], start
        return None

    def _count(self, block: bytes) -> int | None:
        """Return the offset in `block` (whole lines) where the wanted lines begin, if they do."""
        whole = not (self._at_end or b" stdout P " in block or b" stderr P " in block)
        if whole and (count := block.count(b"\n")) <= self._lines:
            self._lines -= count
            return None
        end = len(block)
        while end > 0:
            start = block.rfind(b"\n", 0, end - 1) + 1
            if self._at_end or _is_last(block[start:end]):
                if self._lines == 0:
                    return end
                self._lines -= 1
            self._at_end = False
            end = start
        return None


def _is_last(line: bytes) -> bool:
    """Tell whether a line is not gone on with by the next."""
    parts = line.split(b" ", 3)
    return len(parts) < 3 or parts[2] != b"P"
