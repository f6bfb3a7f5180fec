"""Frames of standard output and error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.wire.stdcopy import BadFrame, FrameDecoder, frame


class StdcopyTests(SynchronousTestCase):
    def test_a_frame_on_the_wire(self) -> None:
        self.assertEqual(frame(1, b"hi\n"), b"\x01\0\0\0\0\0\0\x03hi\n")

    @given(
        st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=300)), max_size=8),
        st.integers(1, 40),
    )
    def test_frames_come_back_however_they_are_split(
        self, frames: list[tuple[int, bytes]], step: int
    ) -> None:
        data = b"".join(frame(*each) for each in frames)
        decoder = FrameDecoder()
        found: list[tuple[int, bytes]] = []
        for start in range(0, len(data), step):
            found += decoder.feed(data[start : start + step])
        self.assertEqual(found, frames)
        self.assertEqual(decoder.pending, 0)

    def test_other_bytes_are_refused(self) -> None:
        for data in (b"HTTP/1.1 200", b"\x01\0\1\0\0\0\0\1x", b"\x01\0\0\0\xff\0\0\0"):
            with self.assertRaises(BadFrame):
                list(FrameDecoder().feed(data))
