"""The files of one container's log: the one that conmon writes, and those that were set aside.

Rule: a file has one number for ever. What is set aside is ``container.log.N`` or, compressed,
``container.log.N.gz``; ``container.log`` itself has the number after the highest of these. So a
number and an offset name a place in the log whatever is set aside, compressed or dropped meanwhile.
``container.log.N.cut`` names the streams of lines that began in the file before N.
"""

from __future__ import annotations

import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from dockerapi.local.containers.logs.spool.lines import open_lines, rest_of_lines
from dockerapi.local.host.syscalls import StrPath

#: How much is compressed or inflated at once, in bytes.
_PIECE = 1024 * 1024
#: Windows and a head as of gzip(1), for zlib.
_GZIP = 31
_PART = ".part"
#: In how much of a file's end a line's last part is, and how long the rest of a line may be that
#: is left out, in bytes; conmon's parts are 8 KiB.
_END, _REST = 64 * 1024, 1024 * 1024


class Cursor(msgspec.Struct, frozen=True, order=True):
    """A place in a log: the number of a file, and how many bytes of it come before."""

    number: int
    offset: int


class Part(msgspec.Struct, frozen=True):
    """An open file of a log, perhaps a compressed one."""

    descriptor: int
    compressed: bool


def _go_on() -> bool:
    return True


class LogFiles:
    """The files of the log at `path`; every method blocks for the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = re.compile(rf"{re.escape(path.name)}\.(\d{{1,15}})(?:\.gz)?")

    def numbers(self) -> list[int]:
        """Return the numbers of what was set aside, ascending."""
        try:
            names = os.listdir(self.path.parent)
        except FileNotFoundError:
            return []
        found = (self._name.fullmatch(name) for name in names)
        return sorted({int(match[1]) for match in found if match is not None})

    def current(self) -> int:
        """Return the number of the file that is written, or will be."""
        return (self.numbers() or [0])[-1] + 1

    def first(self, after: int = 0) -> int:
        """Return the lowest number above `after` that there is, or that will come."""
        numbers = [number for number in self.numbers() if number > after]
        return numbers[0] if numbers else max(self.current(), after + 1)

    def lines_from(self, number: int) -> Cursor:
        """Return where lines begin in the file `number`, when those before it are gone."""
        try:
            streams = frozenset(self._cut(number).read_bytes())
            begin = _beginning(self.take(number), _REST)
        except FileNotFoundError:
            return Cursor(number, 0)
        return Cursor(number, rest_of_lines(begin, streams))

    def end(self) -> Cursor:
        """Return where the log ends now."""
        while True:
            number = self.current()
            try:
                size = self.path.stat().st_size
            except FileNotFoundError:
                size = 0
            if number == self.current():
                return Cursor(number, size)

    def open(self, number: int) -> int:
        """Return a descriptor of the file `number`, inflated; raise FileNotFoundError."""
        return self.inflated(self.take(number))

    def take(self, number: int) -> Part:
        """Return the file `number`, open as it is; raise FileNotFoundError."""
        while True:
            with suppress(FileNotFoundError):
                return Part(_open(self._aside(number)), False)
            with suppress(FileNotFoundError):
                return Part(_open(self._compressed(number)), True)
            if number != self.current():
                raise FileNotFoundError(f"{self.path}: the part {number} is gone")
            descriptor = _open(self.path)
            # It may have been set aside, and the next one made, just before it was opened.
            if number == self.current():
                return Part(descriptor, False)
            os.close(descriptor)

    def inflated(self, part: Part) -> int:
        """Return a descriptor of what `part` holds, which is not the caller's any more."""
        if not part.compressed:
            return part.descriptor
        with (
            open(part.descriptor, "rb") as source,
            tempfile.TemporaryFile(dir=self.path.parent) as target,
        ):
            for piece in _inflated_pieces(source.fileno()):
                target.write(piece)
            target.flush()
            return _open(f"/proc/self/fd/{target.fileno()}")

    def is_written(self, descriptor: int) -> bool:
        """Tell whether the open file `descriptor` is the one under the log's own name."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(descriptor)
        return (status.st_dev, status.st_ino) == (ours.st_dev, ours.st_ino)

    def size(self) -> int:
        """Return how long the file is that is written; 0 where there is none."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def set_aside(self) -> int:
        """Set the file aside that is written, and return its number.

        conmon goes on writing to it until it is told to open its log again. The name that conmon
        then makes is made before: on a full disk this fails here, and not in conmon, which would
        end. Raises OSError, and nothing has happened then.
        """
        os.close(os.open(f"{self.path}.tmp", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
        number = self.current()
        self.path.rename(self._aside(number))
        return number

    def note_cut(self, number: int) -> None:
        """Note which lines go on behind the file `number`, which is complete and not compressed."""
        try:
            descriptor = _open(self._aside(number))
        except FileNotFoundError:
            return
        try:
            begin = max(os.fstat(descriptor).st_size - _END, 0)
            streams = open_lines(os.pread(descriptor, _END, begin))
        finally:
            os.close(descriptor)
        if streams:
            self._cut(number + 1).write_bytes(bytes(streams))

    def drop(self, most: int) -> None:
        """Remove the oldest so that `most` are left of what was set aside."""
        numbers = self.numbers()
        for number in numbers[: max(0, len(numbers) - most)]:
            if number == numbers[-1]:
                # The highest number must be known for as long as the log is.
                part = self._part(number)
                part.write_bytes(b"")
                part.rename(self._aside(number))
            else:
                self._aside(number).unlink(missing_ok=True)
            self._compressed(number).unlink(missing_ok=True)
            self._cut(number).unlink(missing_ok=True)

    def uncompressed(self) -> list[int]:
        """Return the numbers of what was set aside and is not compressed."""
        return [
            number
            for number in self.numbers()
            if self._aside(number).exists() and self._aside(number).stat().st_size
        ]

    def compress(self, number: int, go_on: Callable[[], bool] = _go_on) -> None:
        """Compress what was set aside as `number`; give up where `go_on` says so.

        There is a whole file at each moment: one that was left half-written is written anew.
        Raises OSError, and nothing has happened then.
        """
        part = self._part(number)
        try:
            with self._aside(number).open("rb") as source, part.open("wb") as target:
                os.fchmod(target.fileno(), 0o640)
                packer = zlib.compressobj(wbits=_GZIP)
                for piece in _pieces(source.fileno()):
                    if not go_on():
                        part.unlink(missing_ok=True)
                        return
                    target.write(packer.compress(piece))
                target.write(packer.flush())
                target.flush()
                os.fsync(target.fileno())
            part.rename(self._compressed(number))
        except FileNotFoundError:
            # It was dropped meanwhile, or the container was removed.
            part.unlink(missing_ok=True)
            return
        except BaseException:
            # On a full disk it would keep the room that is missing.
            part.unlink(missing_ok=True)
            raise
        self._aside(number).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what a crash may have left: half-written files, and originals of whole ones."""
        for number in self.numbers():
            if self._compressed(number).exists():
                self._aside(number).unlink(missing_ok=True)
        for path in self.path.parent.glob(f"{self.path.name}.*{_PART}"):
            path.unlink(missing_ok=True)

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")

    def _compressed(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}.gz")

    def _cut(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}.cut")

    def _part(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}{_PART}")


def _open(path: StrPath) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _beginning(part: Part, size: int) -> bytes:
    """Return the first `size` bytes of what `part` holds, which is not the caller's any more."""
    with open(part.descriptor, "rb") as source:
        pieces = _inflated_pieces if part.compressed else _pieces
        begin = b""
        for piece in pieces(source.fileno()):
            begin += piece
            if len(begin) >= size:
                break
    return begin[:size]


def _inflated_pieces(descriptor: int) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=_GZIP)
    for piece in _pieces(descriptor):
        while piece:
            yield unpacker.decompress(piece, _PIECE)
            piece = unpacker.unconsumed_tail


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, _PIECE):
        yield piece
