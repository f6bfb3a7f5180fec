"""What `tarfile` reads an archive from, and how it reads it: forward only, and strictly.

Rule: a header that is damaged is an error, where `tarfile` would take it for the end.
"""

from __future__ import annotations

import abc
import tarfile
from typing import Self

#: The most that is read at once, in bytes.
CHUNK = 1 << 20


class Refused(Exception):
    """The archive holds what is not taken; the text says what, in dockerd's words where it can."""


class Damaged(Refused):
    """What came is no archive, or only a part of one."""


class ForwardStream(abc.ABC):
    """What `tarfile` needs of a file, over a stream that cannot go back.

    :ivar position: how many bytes were read; what reads beside `read_some` adds to it.
    """

    position = 0

    @abc.abstractmethod
    def read_some(self, size: int) -> bytes:
        """Return up to `size` of the next bytes, none only at the end; counts them."""

    def seekable(self) -> bool:
        """Say yes: forward it is."""
        return True

    def tell(self) -> int:
        """Return how much was read."""
        return self.position

    def seek(self, position: int) -> int:
        """Read on to `position`; going back, as to a negative size, raises `Damaged`."""
        if position < self.position:
            raise Damaged("archive/tar: invalid tar header")
        while self.position < position:
            if not self.read_some(min(CHUNK, position - self.position)):
                break
        return self.position

    def drain(self) -> None:
        """Read to the end."""
        while self.read_some(CHUNK):
            continue


class StrictInfo(tarfile.TarInfo):
    """A header; a damaged one raises `Damaged`."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """Read the next header.

        Raises `Damaged` for one that is no header, where `tarfile` would see the end.
        """
        try:
            return super().fromtarfile(tarfile)
        except _TRUNCATED as error:
            raise Damaged("unexpected EOF") from error
        except _INVALID as error:
            raise Damaged("archive/tar: invalid tar header") from error


_TRUNCATED = tarfile.TruncatedHeaderError  # type: ignore[attr-defined]
_INVALID = tarfile.InvalidHeaderError  # type: ignore[attr-defined]
