"""Reading across rotations: nothing twice, nothing left out."""

from __future__ import annotations

import shutil

from hypothesis import given, settings
from hypothesis import strategies as st

from dockerapi.local.containers.logs.spool.files import Cursor, LogFiles, Part
from dockerapi.local.containers.logs.spool.reader import SpoolReader
from tests.local.containers.logs.spool.support import LogCase, line


def rest(reader: SpoolReader, size: int = 1000, end: Cursor | None = None) -> bytes:
    return b"".join(iter(lambda: reader.read(size, end), b""))


class ReaderTests(LogCase):
    def test_a_log_that_is_not_there_yet(self) -> None:
        with SpoolReader(self.files) as reader:
            self.assertEqual(reader.read(10), b"")
            self.assertFalse(reader.more())
            self.write(b"one")
            self.assertTrue(reader.more())
            self.assertEqual(rest(reader), b"one")
            self.assertFalse(reader.more())

    def cut(self, *ends: bytes, drop: int, compress: bool = False) -> bytes:
        """Return what is read where a file ended with `ends`, and all but `drop` are dropped."""
        self.write(line(1, "F", b"old") + b"".join(ends))
        number = self.rotate()
        self.files.note_cut(number)
        self.write(line(1, "P", b"its ") + line(1, "F", b"rest") + line(1, "F", b"new"))
        if compress:
            self.rotate()
            self.files.compress(number + 1)
        self.files.drop(drop)
        with SpoolReader(self.files) as reader:
            return rest(reader)

    def test_the_rest_of_a_line_whose_begin_was_dropped_is_left_out(self) -> None:
        begins = line(1, "P", b"a line with "), line(2, "F", b"other")
        self.assertEqual(self.cut(*begins, drop=0), line(1, "F", b"new"))
        self.assertNotIn("container.log.1.cut", self.names())

    def test_it_is_left_out_of_what_is_compressed(self) -> None:
        begin = line(1, "P", b"a line with ")
        self.assertEqual(self.cut(begin, drop=1, compress=True), line(1, "F", b"new"))

    def test_what_is_compressed_is_inflated_once(self) -> None:
        """Also where it begins within a line, whose end is looked for first."""
        self.write(line(1, "P", b"a line with "))
        self.files.note_cut(self.rotate())
        lines = line(1, "F", b"new" * 2000) * 500
        self.write(line(1, "F", b"rest") + lines)
        self.rotate(compress=True)
        self.files.drop(1)
        whole: list[Part] = []
        inflated = self.files.inflated

        def count(part: Part) -> int:
            whole.append(part)
            return inflated(part)

        self.patch(self.files, "inflated", count)
        with SpoolReader(self.files) as reader:
            self.assertEqual(rest(reader), lines)
        self.assertEqual([part.compressed for part in whole], [True, False])

    def test_a_line_whose_begin_is_there_is_whole(self) -> None:
        begin = line(1, "P", b"a line with ")
        self.assertTrue(self.cut(begin, drop=1).startswith(line(1, "F", b"old") + begin))

    def test_a_file_that_begins_with_a_line_is_read_from_there(self) -> None:
        self.assertTrue(self.cut(line(2, "F", b"x"), drop=0).startswith(line(1, "P", b"its ")))

    def test_the_notes_go_with_their_files(self) -> None:
        self.cut(line(1, "P", b"x"), drop=0)
        self.rotate()
        self.rotate()
        self.files.drop(1)
        self.assertEqual([name for name in self.names() if name.endswith(".cut")], [])

    def test_a_reader_that_comes_late_begins_with_a_line(self) -> None:
        self.write(line(1, "P", b"begin"))
        with SpoolReader(self.files) as reader:
            self.files.note_cut(self.rotate())
            self.write(line(1, "F", b"rest") + line(1, "F", b"new"))
            self.rotate()
            self.files.drop(1)
            self.assertEqual(rest(reader), line(1, "F", b"new"))

    def test_what_is_written_between_rename_and_reopen_is_read(self) -> None:
        self.write(b"one ")
        with self.files.path.open("ab") as conmon, SpoolReader(self.files) as reader:
            self.assertEqual(rest(reader), b"one ")
            self.files.set_aside()
            self.assertEqual(rest(reader), b"")
            self.assertFalse(reader.more())
            conmon.write(b"two ")
            conmon.flush()
            self.assertTrue(reader.more())
            conmon.write(b"three ")
            conmon.close()
            self.reopen()
            self.write(b"four")
            self.assertEqual(rest(reader), b"two three four")

    def test_an_open_file_is_read_though_it_was_dropped(self) -> None:
        self.write(b"one two ")
        with SpoolReader(self.files) as reader:
            self.assertEqual(reader.read(4), b"one ")
            self.rotate()
            self.write(b"three ")
            self.rotate()
            self.files.drop(0)
            self.write(b"four")
            self.assertEqual(rest(reader), b"two four")

    def test_what_is_held_is_read_though_it_was_dropped(self) -> None:
        for text in (b"one ", b"two ", b"three "):
            self.write(text)
            self.rotate(compress=text == b"two ")
        self.write(b"four ")
        with SpoolReader(self.files) as reader:
            self.assertEqual(reader.read(2), b"on")
            reader.hold()
            self.rotate()
            self.files.drop(0)
            self.write(b"five")
            self.assertEqual(rest(reader), b"e two three four five")

    def test_a_cursor_holds_in_another_process(self) -> None:
        self.write(b"one two ")
        with SpoolReader(self.files) as reader:
            self.assertEqual(reader.read(4), b"one ")
            kept = reader.cursor
        self.rotate(compress=True)
        self.write(b"three")
        with SpoolReader(self.files, kept) as reader:
            self.assertEqual(rest(reader), b"two three")
        self.rotate()
        self.files.drop(0)
        self.write(b"four")
        with SpoolReader(self.files, kept) as reader:
            self.assertEqual(rest(reader), b"four")

    def test_the_end_may_be_in_a_file_that_was_set_aside_since(self) -> None:
        self.write(b"one")
        end = self.files.end()
        self.write(b"two")
        self.rotate(compress=True)
        with SpoolReader(self.files) as reader:
            self.assertEqual(rest(reader, end=end), b"one")

    actions = st.lists(st.sampled_from(["write", "rotate", "compress", "read", "again"]))

    @settings(max_examples=60, deadline=None)
    @given(actions)
    def test_whatever_happens_in_whatever_order(self, actions: list[str]) -> None:
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        self.files = LogFiles(self.files.path)
        written = read = b""
        reader = SpoolReader(self.files)
        for number, action in enumerate(actions):
            if action == "write":
                self.write(b"%d " % number)
                written += b"%d " % number
            elif action == "read":
                read += reader.read(3)
            elif action == "again":
                reader.close()
                reader = SpoolReader(LogFiles(self.files.path), reader.cursor)
            elif self.files.path.exists():
                self.rotate(compress=action == "compress")
        with reader:
            self.assertEqual(read + rest(reader), written)


entries = st.lists(
    st.tuples(st.sampled_from("FP"), st.booleans(), st.binary(max_size=20)), max_size=14
)


class TailTests(LogCase):
    def tail(self, lines: int) -> bytes:
        with SpoolReader(self.files) as reader:
            reader.seek_tail(lines, self.files.end())
            return rest(reader)

    @settings(max_examples=100, deadline=None)
    @given(entries, st.integers(0, 16))
    def test_gives_the_last_lines(self, wanted: list[tuple[str, bool, bytes]], count: int) -> None:
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        self.write(b"")
        logical: list[bytes] = []
        begins = True
        for tag, rotates, text in wanted:
            raw = line(1, tag, text.replace(b"\n", b""))
            self.write(raw)
            if rotates:
                self.rotate(compress=bool(count % 2))
            logical = [*logical, raw] if begins else [*logical[:-1], logical[-1] + raw]
            begins = tag == "F"
        expected = b"".join(logical[max(0, len(logical) - count) :]) if count else b""
        self.assertEqual(self.tail(count), expected)

    def test_reads_logs_longer_than_a_piece(self) -> None:
        for number in range(9000):
            self.write(line(1 + number % 2, "F", b"%06d" % number + b"x" * 80))
            if number in (2000, 7000):
                self.rotate(compress=number == 2000)
        for count in (1, 10, 4000, 8999, 9000, 20000):
            self.assertEqual(self.tail(count).count(b"\n"), min(count, 9000))
