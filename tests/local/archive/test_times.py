"""The times of what comes out of archives."""

from __future__ import annotations

import math
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.archive.times import LATEST, set_times


class TimesTests(SynchronousTestCase):
    """Times that can be set, and those that cannot."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_bytes(b"")

    def test_what_dockerd_takes_for_the_epoch(self) -> None:
        """Before 1970 and after 2262, and no number, is 1970."""
        for moment in (-0.5, -100.0, LATEST + 1e6, 1e18, math.inf, math.nan):
            os.utime(self.path, (7, 7))
            set_times(str(self.path), moment)
            self.assertEqual(self.path.stat().st_mtime, 0, moment)

    def test_both_times_of_an_open_file(self) -> None:
        handle = os.open(self.path, os.O_RDONLY)
        self.addCleanup(os.close, handle)
        set_times(handle, 1_600_000_000.25)
        found = self.path.stat()
        self.assertEqual((found.st_atime, found.st_mtime), (1_600_000_000.25,) * 2)

    def test_a_link_is_not_followed(self) -> None:
        link = self.path.with_name(f"{self.path.name}.link")
        link.symlink_to(self.path.name)
        os.utime(self.path, (7, 7))
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, directory)
        set_times(link.name, 1000.0, directory=directory)
        self.assertEqual((self.path.stat().st_mtime, link.lstat().st_mtime), (7, 1000))
