"""The files of a log: numbers, compression, what a crash leaves."""

from __future__ import annotations

import errno
import gzip
import os

from dockerapi.local.containers.logs.spool.files import Cursor
from tests.local.containers.logs.spool.support import LogCase


class FilesTests(LogCase):
    def content(self, number: int) -> bytes:
        with open(self.files.open(number), "rb") as file:
            return file.read()

    def test_a_file_keeps_its_number(self) -> None:
        self.write(b"one")
        self.assertEqual((self.files.current(), self.content(1)), (1, b"one"))
        self.assertEqual(self.rotate(), 1)
        self.write(b"two")
        self.rotate(compress=True)
        self.write(b"three")
        self.assertEqual([self.content(n) for n in (1, 2, 3)], [b"one", b"two", b"three"])
        self.assertEqual(self.files.end(), Cursor(3, 5))
        self.files.drop(1)
        self.assertEqual(self.names(), ["container.log", "container.log.2.gz"])
        self.assertEqual((self.files.current(), self.files.first()), (3, 2))
        self.assertRaises(FileNotFoundError, self.files.open, 1)
        self.assertRaises(FileNotFoundError, self.files.open, 4)

    def test_the_last_number_is_known_when_nothing_is_kept(self) -> None:
        for text in (b"one", b"two"):
            self.write(text)
            self.rotate()
            self.files.drop(0)
        self.assertEqual(self.names(), ["container.log", "container.log.2"])
        self.assertEqual((self.files.current(), self.content(2)), (3, b""))
        self.assertEqual(self.files.uncompressed(), [])

    def test_what_is_compressed_is_gzip(self) -> None:
        text = os.urandom(3_000_000)
        self.write(text)
        self.rotate(compress=True)
        self.assertEqual(self.names(), ["container.log", "container.log.1.gz"])
        packed = (self.directory / "container.log.1.gz").read_bytes()
        self.assertEqual(gzip.decompress(packed), text)
        self.assertEqual(self.content(1), text)

    def test_compressing_may_be_given_up(self) -> None:
        self.write(b"x" * 3_000_000)
        self.rotate()
        answers = iter((True, False))
        self.files.compress(1, lambda: next(answers))
        self.assertEqual(self.names(), ["container.log", "container.log.1"])

    def test_compressing_that_fails_leaves_nothing(self) -> None:
        self.write(b"x" * 3_000_000)
        self.rotate()

        def full() -> bool:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.assertRaises(OSError, self.files.compress, 1, full)
        self.assertEqual(self.names(), ["container.log", "container.log.1"])

    def test_what_a_crash_left_is_made_good(self) -> None:
        self.write(b"one")
        self.rotate(compress=True)
        # Killed after the compressed file was whole, and another one in the middle.
        (self.directory / "container.log.1").write_bytes(b"one")
        self.write(b"two")
        self.rotate()
        (self.directory / "container.log.2.part").write_bytes(b"\x1f\x8b")
        self.files.tidy()
        self.assertEqual(self.names(), ["container.log", "container.log.1.gz", "container.log.2"])
        self.assertEqual((self.content(1), self.content(2)), (b"one", b"two"))

    def test_a_full_disk_is_found_out_before_anything_is_renamed(self) -> None:
        self.write(b"one")
        (self.directory / "container.log.tmp").mkdir()
        self.assertRaises(OSError, self.files.set_aside)
        self.assertEqual(self.content(1), b"one")
