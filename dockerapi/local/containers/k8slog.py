"""conmon's log format, and how `docker logs` shows it.

Source: the CRI's log format, ``TIME STREAM TAG TEXT`` for each line; the tag P says that the line
goes on. Rule: pure; the text is any bytes, and a line that breaks the format is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import attrs

from dockerapi.model.timestamps import NANOSECONDS, rfc3339
from dockerapi.wire.stdcopy import frame

_STREAMS = {b"stdout": 1, b"stderr": 2}


@attrs.frozen
class View:
    """What of a log is wanted, and how.

    :ivar since: nanoseconds since 1970, or None; `until` likewise.
    """

    outputs: frozenset[int]
    framed: bool = True
    timestamps: bool = False
    details: bool = False
    since: int | None = None
    until: int | None = None


class Renderer:
    """Turns lines of the log into what a client gets.

    :ivar past_end: whether a line later than `until` was seen.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._times = _Times()
        self._buffer = b""
        self._goes_on: set[int] = set()
        self.past_end = False

    def feed(self, data: bytes) -> bytes:
        """Take the log's next bytes and return what they give."""
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        return b"".join(self._pieces(lines))

    def _pieces(self, lines: list[bytes]) -> Iterable[bytes]:
        view = self._view
        for line in lines:
            parts = line.split(b" ", 3)
            stream = _STREAMS.get(parts[1]) if len(parts) == 4 else None
            if stream is None:
                continue
            stamp, _, tag, text = parts
            begins = stream not in self._goes_on
            if tag == b"P":
                self._goes_on.add(stream)
            else:
                self._goes_on.discard(stream)
                text += b"\n"
            if stream not in view.outputs or not self._in_time(stamp):
                continue
            if begins and view.details:
                text = b" " + text
            if begins and view.timestamps:
                text = self._times.shown(stamp) + b" " + text
            yield frame(stream, text) if view.framed else text

    def _in_time(self, stamp: bytes) -> bool:
        view = self._view
        if view.since is None and view.until is None:
            return True
        moment = self._times.nanoseconds(stamp)
        if view.until is not None and moment > view.until:
            self.past_end = True
            return False
        return view.since is None or moment >= view.since


class _Times:
    """Reads ``2026-11-24T20:00:00.123456789+01:00``; remembers the latest whole second."""

    def __init__(self) -> None:
        self._known: tuple[bytes, bytes] = (b"", b"")
        self._seconds = 0

    def nanoseconds(self, stamp: bytes) -> int:
        """Return nanoseconds since 1970; 0 for what is no time."""
        second, offset = stamp[:19], stamp[29:]
        if (second, offset) != self._known:
            try:
                moment = datetime.fromisoformat((second + offset).decode("ascii"))
            except (ValueError, UnicodeDecodeError):
                return 0
            self._known, self._seconds = (second, offset), int(moment.timestamp())
        try:
            return self._seconds * NANOSECONDS + int(stamp[20:29])
        except ValueError:
            return 0

    def shown(self, stamp: bytes) -> bytes:
        """Return the time in UTC as dockerd writes it, with nine decimals."""
        if stamp.endswith(b"+00:00") and len(stamp) == 35:
            return stamp[:29] + b"Z"
        moment = self.nanoseconds(stamp)
        whole = rfc3339(moment - moment % NANOSECONDS).encode()
        return whole[:19] + b".%09dZ" % (moment % NANOSECONDS)


def count_back(block: bytes, wanted: int, *, at_end: bool) -> tuple[int | None, int]:
    """Look in `block` (whole lines; `at_end`: the log's last) for its last `wanted` lines.

    Returns the offset where they begin, or None where that is before `block`, and how many are
    still wanted there. A line that goes on (P) belongs to the one after it.
    """
    end = len(block)
    while end > 0:
        start = block.rfind(b"\n", 0, end - 1) + 1
        if (at_end and end == len(block)) or _is_last(block[start:end]):
            if wanted == 0:
                return end, 0
            wanted -= 1
        end = start
    return None, wanted


def _is_last(line: bytes) -> bool:
    parts = line.split(b" ", 3)
    return len(parts) < 3 or parts[2] != b"P"
