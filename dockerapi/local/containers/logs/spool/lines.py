"""conmon's log format: lines, put together of their parts.

Source: the CRI's log format, ``TIME STREAM TAG TEXT`` for each line, with a TIME of 35 bytes; the
tag P says that the line goes on. conmon writes such parts wherever one of its reads ended. Rule:
pure; the text is any bytes, and a line that breaks the format is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

#: What stands between the time and the text: the stream, and whether the line ends.
KINDS = {
    b" stdout F ": (1, True),
    b" stdout P ": (1, False),
    b" stderr F ": (2, True),
    b" stderr P ": (2, False),
}
_PARTS = {stream: kind for kind, (stream, whole) in KINDS.items() if not whole}
WHOLE = {kind for kind, (_, whole) in KINDS.items() if whole}
#: Where the time ends, and where the text begins.
STAMP, TEXT = 35, 45
_kind_of: Callable[[bytes], bytes] = itemgetter(slice(STAMP, TEXT))
#: conmon's lines are shorter by far; what is longer breaks the format.
_LONGEST = 1024 * 1024
#: As much of a line is given at once, as under dockerd, in bytes.
_GIVEN = 16 * 1024


def open_lines(end: bytes) -> frozenset[int]:
    """Return the streams (1, 2) of which a line goes on behind `end`, the last lines of a file."""
    whole = dict(KINDS[kind] for kind in map(_kind_of, end.split(b"\n")) if kind in KINDS)
    return frozenset(stream for stream, ends in whole.items() if not ends)


def rest_of_lines(begin: bytes, streams: frozenset[int]) -> int:
    """Return how many bytes of `begin`, the first of a file, belong to lines begun before it.

    `streams` are those of these lines. What comes between the rests of two is not counted.
    """
    goes_on = set(streams)
    length = 0
    for line in begin.split(b"\n")[:-1]:
        stream, ends = KINDS.get(_kind_of(line), (0, False))
        if stream not in goes_on:
            break
        length += len(line) + 1
        if ends:
            goes_on.remove(stream)
    return length


class Lines:
    """Takes a log in pieces and gives its lines, in the format of the log, each with its kind.

    Lines of `outputs` alone are given. With `gather`, parts of a line are given when it is whole,
    or 16 KiB long; else as they come.
    """

    def __init__(self, outputs: frozenset[int], *, gather: bool) -> None:
        self._outputs = outputs
        self._gather = gather
        self._buffer = b""
        #: By stream, the time and text of a line that goes on.
        self._held: dict[int, tuple[bytes, bytes]] = {}

    @property
    def loose(self) -> int | None:
        """How many bytes of the last piece are not in what was given; None for more than those."""
        return None if self._held else len(self._buffer)

    def feed(self, data: bytes) -> tuple[list[bytes], list[bytes]]:
        """Take the log's next bytes and return lines, and their kinds."""
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        if len(self._buffer) > _LONGEST:
            self._buffer = b""
        kinds = list(map(_kind_of, lines))
        present = set(kinds)
        wanted = {kind for kind in present if kind in KINDS and KINDS[kind][0] in self._outputs}
        if len(wanted) < len(present):
            pairs = zip(lines, kinds, strict=True)
            lines = [line for line, kind in pairs if kind in wanted]
            kinds = [kind for kind in kinds if kind in wanted]
        if self._gather and (self._held or not wanted <= WHOLE):
            return self._gathered(lines, kinds)
        return lines, kinds

    def finish(self) -> tuple[list[bytes], list[bytes]]:
        """Return what is held of lines that go on; there is no more."""
        held, self._held = self._held, {}
        kinds = [_PARTS[stream] for stream in held]
        pairs = zip(held.values(), kinds, strict=True)
        return [stamp + kind + text for (stamp, text), kind in pairs], kinds

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
            stream, whole = KINDS[kind]
            stamp, text = self._held.pop(stream, (line[:STAMP], b""))
            text += line[TEXT:]
            if whole or len(text) >= _GIVEN:
                gathered.append(stamp + kind + text)
                their_kinds.append(kind)
            else:
                self._held[stream] = stamp, text
        return gathered, their_kinds


def _index(kinds: list[bytes], kind: bytes, start: int) -> int:
    """Return where `kind` first is from `start` on; the list's length where it is not."""
    try:
        return kinds.index(kind, start)
    except ValueError:
        return len(kinds)
