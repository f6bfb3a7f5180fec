"""Detach keys: how they are written, and how they are found in input."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.streams.detachkeys import DEFAULT, DetachFilter, parse_detach_keys


class ParseTests(SynchronousTestCase):
    def test_reads_letters_and_control_keys(self) -> None:
        self.assertEqual(parse_detach_keys(""), DEFAULT)
        self.assertEqual(parse_detach_keys("ctrl-p,ctrl-q"), b"\x10\x11")
        self.assertEqual(parse_detach_keys("ctrl-x,a"), b"\x18a")
        self.assertEqual(parse_detach_keys("ctrl-@,ctrl-["), b"\x00\x1b")

        self.assertEqual(parse_detach_keys("DEL,\n, "), b"\x7f\n ")

    def test_refuses_what_is_no_key(self) -> None:
        for text in ("ctrl-", "ctrl-1", "ctrl-A", "ab", ",", "ctrl-p,", "\u00e9"):
            with self.assertRaises(InvalidParameter) as caught:
                parse_detach_keys(text)
            self.assertEqual(caught.exception.message, f"Invalid detach keys ({text}) provided")


class FilterTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from([b"\x10", b"\x11", b"a", b"bc"]), max_size=20))
    def test_finds_the_first_occurrence_however_it_is_split(self, pieces: list[bytes]) -> None:
        before, detached = _reference(b"".join(pieces))
        found = DetachFilter(DEFAULT)
        passed = b""
        for piece in pieces:
            passed += found.feed(piece)
            if found.detached:
                break
        else:
            passed += found.rest()
        self.assertEqual((passed, found.detached), (before, detached))

    def test_holds_back_only_what_may_be_the_keys(self) -> None:
        found = DetachFilter(DEFAULT)
        self.assertEqual(found.feed(b"a\x10"), b"a")
        self.assertEqual(found.feed(b"b"), b"\x10b")
        self.assertEqual(found.feed(b"\x10\x11x"), b"")
        self.assertTrue(found.detached)

    def test_the_first_key_twice_is_not_the_keys(self) -> None:
        found = DetachFilter(DEFAULT)
        self.assertEqual(found.feed(b"\x10\x10\x11"), b"\x10\x10\x11")
        self.assertFalse(found.detached)

    def test_one_key_is_enough(self) -> None:
        found = DetachFilter(b"q")
        self.assertEqual(found.feed(b"abqc"), b"ab")
        self.assertTrue(found.detached)


def _reference(data: bytes) -> tuple[bytes, bool]:
    """Return what passes the default keys, and whether they came, said in another way."""
    passed = b""
    while True:
        before, first, after = data.partition(DEFAULT[:1])
        passed += before
        if not first:
            return passed, False
        if after[:1] == DEFAULT[1:]:
            return passed, True
        passed += first + after[:1]
        data = after[1:]
