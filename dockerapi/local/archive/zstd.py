"""The program that undoes zstd, which a child confined to a hostile root could not load there.

Source: RFC 8878. Rule: it is a process of its own between two pipes.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Sequence

_MAGIC = b"\x28\xb5\x2f\xfd"
#: How many bytes tell what it is.
LENGTH = 5

_COPY = "import shutil, sys; shutil.copyfileobj({}, sys.stdout.buffer, 1 << 18)"
_PACKAGE = "zstandard.ZstdDecompressor().stream_reader(sys.stdin.buffer, read_across_frames=True)"
_MODULE = "compression.zstd.ZstdFile(sys.stdin.buffer)"


class Unsupported(Exception):
    """A compression that this host cannot undo; the text says what to install."""


def is_zstd(start: bytes) -> bool:
    """Tell whether what begins with `start` is compressed with zstd.

    It may begin with a skippable frame (3.1.2), as zstd:chunked does.
    """
    skippable = len(start) >= LENGTH and start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50
    return start.startswith(_MAGIC) or skippable


def decompressor() -> Sequence[str]:
    """Return the command that decompresses its input: the program, or Python with what it has.

    Raises `Unsupported`.
    """
    program = shutil.which("zstd")
    if program is not None:
        return (program, "-dcq")
    for module, stream in (("zstandard", _PACKAGE), ("compression.zstd", _MODULE)):
        parent = module.partition(".")[0]
        if importlib.util.find_spec(parent) and importlib.util.find_spec(module):
            return (sys.executable, "-I", "-c", f"import {module}; {_COPY.format(stream)}")
    raise Unsupported("the archive is compressed with zstd: install the program zstd")
