"""A log as conmon writes it, in a temporary directory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.containers.logs.spool.files import LogFiles

STAMP = b"2026-11-24T20:00:00.123456789+00:00"


def line(stream: int, tag: str, text: bytes, stamp: bytes = STAMP) -> bytes:
    name = b"stdout" if stream == 1 else b"stderr"
    return b"%b %b %b %b\n" % (stamp, name, tag.encode(), text)


class LogCase(SynchronousTestCase):
    """Has an empty log in `files`."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dockerapi-log-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.files = LogFiles(self.directory / "container.log")

    def write(self, data: bytes) -> None:
        with self.files.path.open("ab") as file:
            file.write(data)

    def rotate(self, *, compress: bool = False) -> int:
        """Set the log aside and make a new one, as conmon does."""
        number = self.files.set_aside()
        self.reopen()
        if compress:
            self.files.compress(number)
        return number

    def reopen(self) -> None:
        temporary = self.directory / "container.log.tmp"
        temporary.write_bytes(b"")
        temporary.rename(self.files.path)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())
