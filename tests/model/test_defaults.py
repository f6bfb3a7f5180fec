"""What options say of containers that say nothing themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.containers import Ulimit
from dockerapi.model.defaults import ContainerDefaults, parse_memory, parse_ulimit
from dockerapi.model.malformed import Malformed


class DefaultsTests(SynchronousTestCase):
    def test_limits(self) -> None:
        for text, limit in (
            ("nofile=42:43", Ulimit("nofile", 42, 43)),
            ("nproc=7", Ulimit("nproc", 7, 7)),
            ("core=-1:-1", Ulimit("core", -1, -1)),
            ("core=5:-1", Ulimit("core", 5, -1)),
        ):
            self.assertEqual(parse_ulimit(text), limit)

    def test_what_are_no_limits(self) -> None:
        for text, told in (
            ("nofile", "invalid ulimit argument: nofile"),
            ("odd=1", "invalid ulimit type: odd"),
            ("nofile=x", "invalid ulimit argument: nofile=x"),
            (
                "nofile=2:1",
                "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
            ),
            (
                "nofile=-1:1",
                "ulimit soft limit must be less than or equal to hard limit: -1 > 1",
            ),
        ):
            self.assertEqual(self.assertRaises(Malformed, parse_ulimit, text).message, told)

    def test_sizes(self) -> None:
        for text, size in (("64M", 64 << 20), ("1.5 kb", 1536), ("7", 7), ("1gib", 1 << 30)):
            self.assertEqual(parse_memory(text), size)
        for text in ("", "m", "0", "-1", "1x", "9" * 30):
            error = self.assertRaises(Malformed, parse_memory, text)
            self.assertEqual(error.message, f"invalid size: '{text}'")

    def test_together(self) -> None:
        found = ContainerDefaults.parse(["nofile=1", "nofile=2"], "1m", "shareable", init=True)
        wanted = ContainerDefaults((Ulimit("nofile", 2, 2),), 1 << 20, "shareable", True)
        self.assertEqual(found, wanted)
        with self.assertRaises(Malformed) as caught:
            ContainerDefaults.parse([], "1m", "host", init=False)
        self.assertIn("invalid default IPC mode host", caught.exception.message)

    @given(st.text(alphabet="nofile=:-0123456789 kmgb."))
    def test_any_text_is_malformed_at_most(self, text: str) -> None:
        for parse in (parse_ulimit, parse_memory):
            try:
                parse(text)
            except Malformed as error:
                self.assertTrue(error.message)
