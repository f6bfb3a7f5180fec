"""Progress of a pull as the lines that clients draw.

Source: ImageCreate's answer; the words, the bar and the sizes are dockerd's.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.wire.duplex import Sink, StreamAborted

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_WIDTH = 50


class ProgressLines:
    """Writes lines of progress, one at a time; those that merely count are dropped under load."""

    log = Logger()

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = DeferredLock()

    async def say(self, status: str, identity: str = "") -> None:
        """Write a line that has to arrive."""
        line: dict[str, Any] = {"status": status}
        if identity:
            line |= {"progressDetail": {}, "id": identity}
        await self._write(line)

    async def begin(self, status: str, tag: str) -> None:
        """Write the first line, whose id is a tag."""
        await self._write({"status": status, "id": tag})

    def count(self, status: str, identity: str, current: int, total: int) -> None:
        """Tell how far something is, unless a line is being written right now."""
        if not self._lock.locked:
            line = {
                "status": status,
                "progressDetail": {"current": current, "total": total},
                "progress": bar(current, total),
                "id": identity,
            }
            Deferred.fromCoroutine(self._write(line)).addErrback(self._lost)

    async def _write(self, line: dict[str, Any]) -> None:
        await self._lock.acquire()
        try:
            await self._sink.write(msgspec.json.encode(line) + b"\r\n")
        finally:
            self._lock.release()

    def _lost(self, failure: Failure) -> None:
        # Who has left needs no progress; the pull itself is cancelled elsewhere.
        failure.trap(StreamAborted)


def bar(current: int, total: int) -> str:
    """Return the bar that shows `current` of `total` bytes."""
    if total <= 0 or current > total:
        return f"{human_size(current):>8}"
    filled = min(int(current * 100 / total) // 2, _WIDTH)
    spaces = " " * (_WIDTH - filled)
    return f"[{'=' * filled}>{spaces}] {human_size(current):>8}/{human_size(total)}"


def human_size(size: float) -> str:
    """Return a size in decimal units with four digits, as in ``1.069MB``."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.4g}{_UNITS[unit]}"
