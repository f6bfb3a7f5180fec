"""How `docker logs` shows lines of a log.

Rule: pure; where lines are shown as they are no Python runs for each of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

import msgspec

from dockerapi.local.containers.logs.spool.lines import KINDS, STAMP, TEXT, WHOLE, Lines
from dockerapi.local.containers.logs.spool.times import Times

_ENDS = {kind: b"\n" if whole else b"" for kind, (_, whole) in KINDS.items()}
_text_of: Callable[[bytes], bytes] = itemgetter(slice(TEXT, None))
_HEAD = struct.Struct(">BxxxI")


class View(msgspec.Struct, frozen=True):
    """What of a log is wanted, and how.

    :ivar since: nanoseconds since 1970, or None; `until` likewise.
    :ivar details: what stands before each line, or None.
    :ivar gather: whether parts of a line are shown when it is whole, or 16 KiB long; else as they
        come.
    """

    outputs: frozenset[int]
    framed: bool = True
    timestamps: bool = False
    details: bytes | None = None
    since: int | None = None
    until: int | None = None
    gather: bool = True

    @property
    def plain(self) -> bool:
        """Whether lines are shown as they are, and all of them."""
        return not self.timestamps and self.details is None and self.since is self.until is None


#: Up to this length a line's head is made once.
_REMEMBERED = 4096


class _Heads(dict[int, bytes]):
    """The head of a line's frame, by the line's length in the log."""

    def __init__(self, stream: int, *, whole: bool) -> None:
        super().__init__()
        self._stream, self._more = stream, int(whole) - TEXT

    def __missing__(self, length: int) -> bytes:
        head = _HEAD.pack(self._stream, length + self._more)
        if length <= _REMEMBERED:
            self[length] = head
        return head


#: By kind.
_HEADS: Mapping[bytes, _Heads] = {
    kind: _Heads(stream, whole=whole) for kind, (stream, whole) in KINDS.items()
}


class Renderer:
    """Turns lines of the log into what a client gets.

    :ivar past_end: whether a line later than `until` was seen.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._lines = Lines(view.outputs, gather=view.gather)
        self._times = Times()
        self._goes_on: set[int] = set()
        self.past_end = False

    def feed(self, data: bytes) -> bytes:
        """Take the log's next bytes and return what they give."""
        return self._shown(*self._lines.feed(data))

    def finish(self) -> bytes:
        """Return what is left of lines that go on; there is no more."""
        return self._shown(*self._lines.finish())

    def _shown(self, lines: list[bytes], kinds: list[bytes]) -> bytes:
        if not lines:
            return b""
        if self._view.plain:
            return (_framed if self._view.framed else _bare)(lines, kinds, set(kinds))
        return b"".join(self._pieces(lines, kinds))

    def _pieces(self, lines: list[bytes], kinds: list[bytes]) -> Iterable[bytes]:
        view = self._view
        for line, kind in zip(lines, kinds, strict=True):
            stream, whole = KINDS[kind]
            stamp, text = line[:STAMP], line[TEXT:]
            begins = stream not in self._goes_on
            if whole:
                self._goes_on.discard(stream)
                text += b"\n"
            else:
                self._goes_on.add(stream)
            if not self._in_time(stamp):
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
    if not present <= WHOLE:
        parts[2::3] = map(_ENDS.__getitem__, kinds)
    return b"".join(parts)


def _bare(lines: list[bytes], kinds: list[bytes], present: set[bytes]) -> bytes:
    """Return the lines' texts, each with its end."""
    if present <= WHOLE:
        return b"\n".join(map(_text_of, lines)) + b"\n"
    parts = [b""] * (2 * len(lines))
    parts[0::2] = map(_text_of, lines)
    parts[1::2] = map(_ENDS.__getitem__, kinds)
    return b"".join(parts)
