"""conmon's log format: what comes back of it, for any bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.containers.logs.spool.render import Renderer, View
from dockerapi.wire.stdcopy import FrameDecoder
from tests.local.containers.logs.spool.support import line

BOTH = frozenset({1, 2})
texts = st.binary(max_size=40).map(lambda text: text.replace(b"\n", b""))
entries = st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from("FP"), texts), max_size=12)


class RendererTests(SynchronousTestCase):
    @given(entries, st.integers(1, 60))
    def test_any_bytes_come_back_however_they_are_split(
        self, wanted: list[tuple[int, str, bytes]], step: int
    ) -> None:
        data = b"".join(line(*entry) for entry in wanted)
        renderer = Renderer(View(BOTH, gather=False))
        shown = b"".join(
            renderer.feed(data[start : start + step]) for start in range(0, len(data), step)
        )
        expected = [(stream, text + (b"\n" if tag == "F" else b"")) for stream, tag, text in wanted]
        self.assertEqual(list(FrameDecoder().feed(shown)), expected)

    @given(entries, st.integers(1, 200), st.booleans())
    def test_a_line_is_one_frame_whatever_its_parts(
        self, wanted: list[tuple[int, str, bytes]], step: int, plain: bool
    ) -> None:
        data = b"".join(line(*entry) for entry in wanted)
        renderer = Renderer(View(BOTH, since=None if plain else 1))
        shown = b"".join(
            renderer.feed(data[start : start + step]) for start in range(0, len(data), step)
        )
        expected: list[tuple[int, bytes]] = []
        held: dict[int, bytes] = {}
        for stream, tag, text in wanted:
            held[stream] = held.get(stream, b"") + text
            if tag == "F":
                expected.append((stream, held.pop(stream) + b"\n"))
        frames = list(FrameDecoder().feed(shown + renderer.finish()))
        self.assertEqual(frames[: len(expected)], expected)
        self.assertEqual(dict(frames[len(expected) :]), held)

    def test_a_line_without_end_is_shown_16_kib_at_a_time(self) -> None:
        renderer = Renderer(View(BOTH, timestamps=True))
        parts = [renderer.feed(line(1, "P", b"x" * 8192)) for _ in range(5)]
        frames = [[len(text) for _, text in FrameDecoder().feed(part)] for part in parts]
        self.assertEqual(frames, [[], [31 + 16384], [], [16384], []])
        self.assertEqual(len(renderer.finish()), 8 + 8192)

    def test_one_stream_of_two(self) -> None:
        data = line(1, "F", b"out") + line(2, "F", b"err")
        self.assertEqual(Renderer(View(frozenset({2}), framed=False)).feed(data), b"err\n")

    def test_times_stand_once_before_a_long_line(self) -> None:
        data = line(1, "P", b"be") + line(1, "F", b"gin") + line(1, "F", b"x")
        shown = Renderer(View(BOTH, framed=False, timestamps=True)).feed(data)
        stamp = b"2026-11-24T20:00:00.123456789Z"
        self.assertEqual(shown, stamp + b" begin\n" + stamp + b" x\n")

    def test_times_are_shown_in_utc(self) -> None:
        data = line(1, "F", b"x", b"2026-11-24T20:00:00.000000001+01:30")
        shown = Renderer(View(BOTH, framed=False, timestamps=True)).feed(data)
        self.assertEqual(shown, b"2026-11-24T18:30:00.000000001Z x\n")

    def test_since_and_until(self) -> None:
        seconds = 1795550400
        data = b"".join(
            line(1, "F", b"%d" % n, b"2026-11-24T20:00:0%d.500000000+00:00" % n) for n in range(5)
        )
        view = View(
            BOTH,
            framed=False,
            since=(seconds + 1) * 10**9 + 500_000_000,
            until=(seconds + 3) * 10**9,
        )
        renderer = Renderer(view)
        self.assertEqual(renderer.feed(data), b"1\n2\n")
        self.assertTrue(renderer.past_end)

    def test_lines_that_break_the_format_are_left_out(self) -> None:
        data = b"garbage\n" + line(1, "F", b"x") + b"\0\xff \n"
        self.assertEqual(Renderer(View(BOTH, framed=False)).feed(data), b"x\n")
