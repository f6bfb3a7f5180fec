"""Points in time in filters: as dockerd reads them."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.malformed import Malformed
from dockerapi.model.moments import parse_until
from dockerapi.model.timestamps import NANOSECONDS


class UntilTests(SynchronousTestCase):
    def test_moments(self) -> None:
        for text, seconds in (
            ("1136073845", 1136073845),
            ("2006-01-02T15:04:05Z", 1136214245),
            ("2006-01-02T15:04:05+01:00", 1136210645),
            ("2006-01-02", 1136160000),
        ):
            self.assertEqual(parse_until(text), seconds * NANOSECONDS, text)

    def test_durations_before_now(self) -> None:
        for text, seconds in (("1h", 3600), ("10m30s", 630), ("1.5h", 5400), ("300ms", 0.3)):
            ago = time.time_ns() - parse_until(text)
            self.assertLess(abs(ago / NANOSECONDS - seconds), 1, text)

    @given(st.text())
    def test_anything_else_is_malformed(self, text: str) -> None:
        try:
            self.assertIsInstance(parse_until(text), int)
        except Malformed as malformed:
            self.assertIn("until", malformed.message)
