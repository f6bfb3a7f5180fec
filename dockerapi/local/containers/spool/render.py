"""conmon's log format, and how `docker logs` shows it.

Source: the CRI's log format, ``TIME STREAM TAG TEXT`` for each line, with a TIME of 35 bytes; the
tag P says that the line goes on. Rule: pure; the text is any bytes, a line that breaks the format
is left out, and where lines are shown as they are no Python runs for each of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

import attrs

from dockerapi.local.containers.spool.times import Times

_STREAMS = {b"stdout": 1, b"stderr": 2}
#: What stands between the time and the text: the stream, and whether the line ends.
_KINDS = {
    b" stdout F ": (1, True),
    b" stdout P ": (1, False),
    b" stderr F ": (2, True),
    b" stderr P ": (2, False),
}
_TEXT = 45
_kind_of: Callable[[bytes], bytes] = itemgetter(slice(35, _TEXT))
_text_of: Callable[[bytes], bytes] = itemgetter(slice(_TEXT, None))
_HEAD = struct.Struct(">BxxxI")
#: conmon's lines are shorter by far; what is longer breaks the format.
_LONGEST = 1024 * 1024


@attrs.frozen
class View:
    """What of a log is wanted, and how.

    :ivar since: nanoseconds since 1970, or None; `until` likewise.
    :ivar details: what stands before each line, or None.
    """

    outputs: frozenset[int]
    framed: bool = True
    timestamps: bool = False
    details: bytes | None = None
    since: int | None = None
    until: int | None = None

    @property
    def plain(self) -> bool:
        """Whether lines are shown as they are, and all of them."""
        return not self.timestamps and self.details is None and self.since is self.until is None


class _Heads(dict[int, bytes]):
    """The head of a line's frame, by the line's length in the log."""

    def __init__(self, stream: int, *, whole: bool) -> None:
        super().__init__()
        self._stream, self._more = stream, int(whole) - _TEXT

    def __missing__(self, length: int) -> bytes:
        head = self[length] = _HEAD.pack(self._stream, length + self._more)
        return head


#: By kind. conmon's lines have at most some 8,000 bytes; so has each of these as many entries.
_HEADS: Mapping[bytes, _Heads] = {
    kind: _Heads(stream, whole=whole) for kind, (stream, whole) in _KINDS.items()
}
_WHOLE = {kind for kind, (_, whole) in _KINDS.items() if whole}
_ENDS = {kind: b"\n" if whole else b"" for kind, (_, whole) in _KINDS.items()}


class Renderer:
    """Turns lines of the log into what a client gets.

    :ivar past_end: whether a line later than `until` was seen.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._times = Times()
        self._buffer = b""
        self._goes_on: set[int] = set()
        self.past_end = False

    def feed(self, data: bytes) -> bytes:
        """Take the log's next bytes and return what they give."""
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        if len(self._buffer) > _LONGEST:
            self._buffer = b""
        if self._view.plain and lines:
            kinds = list(map(_kind_of, lines))
            present = set(kinds)
            if _KINDS.keys() >= present:
                return self._all(lines, kinds, present)
        return b"".join(self._pieces(lines))

    def _all(self, lines: list[bytes], kinds: list[bytes], present: set[bytes]) -> bytes:
        """Return the lines as they are, of the wanted streams."""
        wanted = {kind for kind in present if _KINDS[kind][0] in self._view.outputs}
        if wanted != present:
            chosen = [pair for pair in zip(lines, kinds, strict=True) if pair[1] in wanted]
            lines, kinds = [line for line, _ in chosen], [kind for _, kind in chosen]
        if not lines:
            return b""
        return _framed(lines, kinds, wanted) if self._view.framed else _bare(lines, kinds, wanted)

    def _pieces(self, lines: list[bytes]) -> Iterable[bytes]:
        view = self._view
        for line in lines:
            stamp, stream, whole, text = _parts(line)
            if not stream:
                continue
            begins = stream not in self._goes_on
            if whole:
                self._goes_on.discard(stream)
                text += b"\n"
            else:
                self._goes_on.add(stream)
            if stream not in view.outputs or not self._in_time(stamp):
                continue
            if begins and view.details is not None:
                text = view.details + b" " + text
            if begins and view.timestamps:
                text = self._times.shown(stamp) + b" " + text
            yield _HEAD.pack(stream, len(text)) + text if view.framed else text

    def _in_time(self, stamp: bytes) -> bool:
        view = self._view
        if view.since is None and view.until is None:
            return True
        moment = self._times.nanoseconds(stamp)
        if view.until is not None and moment > view.until:
            self.past_end = True
            return False
        return view.since is None or moment >= view.since


def _framed(lines: list[bytes], kinds: list[bytes], present: set[bytes]) -> bytes:
    """Return a frame for each line: head, text and end in turn."""
    parts = [b"\n"] * (3 * len(lines))
    sizes = map(len, lines)
    if len(present) == 1:
        parts[0::3] = map(_HEADS[kinds[0]].__getitem__, sizes)
    else:
        parts[0::3] = [_HEADS[kind][size] for kind, size in zip(kinds, sizes, strict=True)]
    parts[1::3] = map(_text_of, lines)
    if not present <= _WHOLE:
        parts[2::3] = map(_ENDS.__getitem__, kinds)
    return b"".join(parts)


def _bare(lines: list[bytes], kinds: list[bytes], present: set[bytes]) -> bytes:
    """Return the lines' texts, each with its end."""
    if present <= _WHOLE:
        return b"\n".join(map(_text_of, lines)) + b"\n"
    parts = [b""] * (2 * len(lines))
    parts[0::2] = map(_text_of, lines)
    parts[1::2] = map(_ENDS.__getitem__, kinds)
    return b"".join(parts)


def _parts(line: bytes) -> tuple[bytes, int, bool, bytes]:
    """Return time, stream (0 where the line breaks the format), whether it ends, and text."""
    known = _KINDS.get(line[35:_TEXT])
    if known is not None:
        return line[:35], *known, line[_TEXT:]
    parts = line.split(b" ", 3)
    stream = _STREAMS.get(parts[1], 0) if len(parts) == 4 else 0
    return (parts[0], stream, parts[2] != b"P", parts[3]) if stream else (b"", 0, True, b"")
