"""Profiles as pprof's viewers read them, by a decoder that shares nothing with the encoder."""

from __future__ import annotations

import gzip
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.wire.pprof import Frame, Profile, Sample, encode, text


def decode(data: bytes) -> dict[int, list[int | bytes]]:
    """Return the fields of a protocol buffer message by number."""
    fields: dict[int, list[int | bytes]] = defaultdict(list)
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            fields[key >> 3].append(varint())
        elif key & 7 == 2:
            size = varint()
            fields[key >> 3].append(data[at : at + size])
            at += size
        else:
            raise AssertionError(f"wire type {key & 7}")
    return fields


def varints(data: bytes) -> list[int]:
    return [int(value) for value in decode(b"".join(_tagged(data)))[1]]


def _tagged(data: bytes) -> list[bytes]:
    parts, start = [], 0
    for at, byte in enumerate(data):
        if byte < 0x80:
            parts.append(b"\x08" + data[start : at + 1])
            start = at + 1
    return parts


def samples(
    document: dict[int, list[int | bytes]],
) -> list[tuple[tuple[Frame, ...], tuple[int, ...]]]:
    """Return stacks and values, resolved through the profile's tables."""
    strings = [bytes(item).decode() for item in document[6]]
    functions = {}
    for item in document[5]:
        function = decode(bytes(item))
        functions[function[1][0]] = (
            strings[int(function[2][0])],
            strings[int((function[4] or [0])[0])],
        )
    locations = {}
    for item in document[4]:
        location = decode(bytes(item))
        line = decode(bytes(location[4][0]))
        name, file = functions[line[1][0]]
        locations[location[1][0]] = Frame(name, file, int((line[2] or [0])[0]))
    found = []
    for item in document[2]:
        sample = decode(bytes(item))
        stack = tuple(locations[number] for number in varints(bytes(sample[1][0])))
        found.append((stack, tuple(varints(bytes(sample[2][0])))))
    return found


frames = st.builds(
    Frame,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
    st.sampled_from(["", "a.py", "b.py"]),
    st.integers(0, 10**6),
)
stacks = st.lists(frames, min_size=1, max_size=6).map(tuple)


class PprofTests(SynchronousTestCase):
    @given(st.lists(st.tuples(stacks, st.integers(0, 2**62)), max_size=6))
    def test_every_sample_comes_back(self, wanted: list[tuple[tuple[Frame, ...], int]]) -> None:
        profile = Profile(
            [("cpu", "nanoseconds")], [Sample(stack, (value,)) for stack, value in wanted]
        )
        document = decode(gzip.decompress(encode(profile)))
        self.assertEqual(samples(document), [(stack, (value,)) for stack, value in wanted])
        self.assertEqual(document[6][0], b"")

    def test_types_and_period_are_named(self) -> None:
        profile = Profile(
            [("samples", "count"), ("cpu", "nanoseconds")], [], ("cpu", "nanoseconds", 7)
        )
        document = decode(gzip.decompress(encode(profile)))
        strings = [bytes(item).decode() for item in document[6]]
        kinds = [decode(bytes(item)) for item in document[1]]
        self.assertEqual(
            [(strings[int(kind[1][0])], strings[int(kind[2][0])]) for kind in kinds],
            [("samples", "count"), ("cpu", "nanoseconds")],
        )
        self.assertEqual(document[12], [7])

    def test_text_shows_the_largest_first(self) -> None:
        small, large = (Frame("small", "s.py", 1),), (Frame("large", "l.py", 2),)
        shown = text(Profile([("n", "count")], [Sample(small, (1,)), Sample(large, (9,))]))
        self.assertLess(shown.index("large"), shown.index("small"))
        self.assertIn("l.py:2", shown)
