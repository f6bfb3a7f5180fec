"""The child that unpacks one layer: ``python -m dockerapi.local.images.unpack FD DIRECTORY``.

Reads the archive from the descriptor FD (which it shares with its parent, who can see how far it
has come), unpacks it into the empty DIRECTORY, and writes ``{"diffId": ..., "size": ...}`` to its
output; or one line of error, and exits with status 1.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import resource
import sys
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO

from dockerapi.local.archive.limits import MEMBERS, room
from dockerapi.local.archive.tarstream import Damaged, ForwardStream, Refused, StrictInfo
from dockerapi.local.archive.zstd import Unsupported
from dockerapi.local.images.decompression import decompressed
from dockerapi.local.images.extraction import Tree

#: The most memory that reading an archive may take, in bytes: an archive's headers name sizes.
MEMORY_LIMIT = 2 * 1024**3


class Measured(ForwardStream):
    """A stream that is hashed, counted and bounded on the way."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end; raise `Refused` past the limit."""
        data = self._stream.read(size)
        self.position += len(data)
        if self.position > self._limit:
            raise Refused(f"the layer is larger than what there is room for ({self._limit} bytes)")
        self.hash.update(data)
        return data

    read_some = read


def unpack(descriptor: int, directory: str) -> dict[str, object]:
    """Unpack the archive in `descriptor` into `directory`; return its diff id and size.

    Raises `Refused`, `Unsupported`, OSError, or an error of a module for compression.
    """
    file = io.FileIO(descriptor, closefd=False)
    source = Measured(decompressed(file), room(directory))
    with Tree(directory) as tree:
        for member in _members(source):
            tree.add(*member)
        tree.finish()
    source.drain()
    return {"diffId": f"sha256:{source.hash.hexdigest()}", "size": tree.size}


def _members(source: Measured) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Give the members of an archive; one without a byte has none."""
    try:
        archive = tarfile.TarFile(
            fileobj=source,  # type: ignore[arg-type]
            tarinfo=StrictInfo,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except tarfile.ReadError:
        if source.position:
            raise
        return
    members = 0
    while (member := archive.next()) is not None:
        # tarfile remembers every member, for going back: here there is no going back.
        archive.members = []  # type: ignore[attr-defined]
        members += 1
        if members > MEMBERS:
            raise Refused(f"the layer has more than {MEMBERS} members")
        yield archive, member


def main(arguments: list[str]) -> int:
    """Run the child; return its exit status."""
    descriptor, directory = int(arguments[0]), arguments[1]
    os.umask(0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    try:
        result = unpack(descriptor, directory)
    except MemoryError:
        message = "the archive needs too much memory to be read"
    except (Damaged, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        message = f"the archive is damaged: {error}"
    except (Refused, Unsupported) as error:
        message = str(error)
    except OSError as error:
        message = f"{error.strerror or error}" + (f": {error.filename!r}" if error.filename else "")
    else:
        json.dump(result, sys.stdout)
        return 0
    sys.stderr.write(message.encode("utf-8", "backslashreplace").decode() + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
