"""conmon's log format, and how `docker logs` shows it.

Source: the CRI's log format, ``TIME STREAM TAG TEXT`` for each line, with a TIME of 35 bytes; the
tag P says that the line goes on. conmon writes such parts wherever one of its reads ended. Rule:
pure; the text is any bytes, a line that breaks the format is left out, and where lines are shown as
they are no Python runs for each of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter

import attrs

from dockerapi.local.containers.spool.times import Times

#: What stands between the time and the text: the stream, and whether the line ends.
_KINDS = {
    b" stdout F ": (1, True),
    b" stdout P ": (1, False),
    b" stderr F ": (2, True),
    b" stderr P ": (2, False),
}
_PARTS = {stream: kind for kind, (stream, whole) in _KINDS.items() if not whole}
_WHOLE = {kind for kind, (_, whole) in _KINDS.items() if whole}
_ENDS = {kind: b"\n" if whole else b"" for kind, (_, whole) in _KINDS.items()}
#: Where the time ends, and where the text begins.
_STAMP, _TEXT = 35, 45
_kind_of: Callable[[bytes], bytes] = itemgetter(slice(_STAMP, _TEXT))
_text_of: Callable[[bytes], bytes] = itemgetter(slice(_TEXT, None))
_HEAD = struct.Struct(">BxxxI")
#: conmon's lines are shorter by far; what is longer breaks the format.
_LONGEST = 1024 * 1024
#: As much of a line is shown at once, as under dockerd, in bytes.
_SHOWN = 16 * 1024


@attrs.frozen
class View:
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
        self._stream, self._more = stream, int(whole) - _TEXT

    def __missing__(self, length: int) -> bytes:
        head = _HEAD.pack(self._stream, length + self._more)
        if length <= _REMEMBERED:
            self[length] = head
        return head


#: By kind.
_HEADS: Mapping[bytes, _Heads] = {
    kind: _Heads(stream, whole=whole) for kind, (stream, whole) in _KINDS.items()
}


class Renderer:
    """Turns lines of the log into what a client gets.

    :ivar past_end: whether a line later than `until` was seen.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._times = Times()
        self._buffer = b""
        #: By stream, the time and text of a line that goes on.
        self._held: dict[int, tuple[bytes, bytes]] = {}
        self._goes_on: set[int] = set()
        self.past_end = False

    def feed(self, data: bytes) -> bytes:
        """Take the log's next bytes and return what they give."""
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        if len(self._buffer) > _LONGEST:
            self._buffer = b""
        kinds = list(map(_kind_of, lines))
        wanted = {kind for kind in set(kinds) if _is_wanted(kind, self._view.outputs)}
        if len(wanted) < len(set(kinds)):
            pairs = zip(lines, kinds, strict=True)
            lines = [line for line, kind in pairs if kind in wanted]
            kinds = [kind for kind in kinds if kind in wanted]
        if self._view.gather and (self._held or not wanted <= _WHOLE):
            lines, kinds = self._gathered(lines, kinds)
        return self._shown(lines, kinds)

    def finish(self) -> bytes:
        """Return what is held of lines that go on; there is no more."""
        held, self._held = self._held, {}
        kinds = [_PARTS[stream] for stream in held]
        lines = [
            stamp + kind + text for (stamp, text), kind in zip(held.values(), kinds, strict=True)
        ]
        return self._shown(lines, kinds)

    def _shown(self, lines: list[bytes], kinds: list[bytes]) -> bytes:
        if not lines:
            return b""
        if self._view.plain:
            return (_framed if self._view.framed else _bare)(lines, kinds, set(kinds))
        return b"".join(self._pieces(lines, kinds))

    def _gathered(self, lines: list[bytes], kinds: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Put lines together of their parts, and hold what goes on."""
        gathered: list[bytes] = []
        their_kinds: list[bytes] = []
        position = 0
        while position < len(lines):
            if not self._held:
                stop = min(_index(kinds, part, position) for part in _PARTS.values())
                gathered += lines[position:stop]
                their_kinds += kinds[position:stop]
                position = stop
                if stop == len(lines):
                    break
            line, kind = lines[position], kinds[position]
            position += 1
            stream, whole = _KINDS[kind]
            stamp, text = self._held.pop(stream, (line[:_STAMP], b""))
            text += line[_TEXT:]
            if whole or len(text) >= _SHOWN:
                gathered.append(stamp + kind + text)
                their_kinds.append(kind)
            else:
                self._held[stream] = stamp, text
        return gathered, their_kinds

    def _pieces(self, lines: list[bytes], kinds: list[bytes]) -> Iterable[bytes]:
        view = self._view
        for line, kind in zip(lines, kinds, strict=True):
            stream, whole = _KINDS[kind]
            stamp, text = line[:_STAMP], line[_TEXT:]
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


def _is_wanted(kind: bytes, outputs: frozenset[int]) -> bool:
    """Tell whether lines of this kind are of one of the streams; False for what is no kind."""
    known = _KINDS.get(kind)
    return known is not None and known[0] in outputs


def _index(kinds: list[bytes], kind: bytes, start: int) -> int:
    """Return where `kind` first is from `start` on; the list's length where it is not."""
    try:
        return kinds.index(kind, start)
    except ValueError:
        return len(kinds)
