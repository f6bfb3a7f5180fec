"""How much of what comes in archives is taken, where nobody has said how much there will be.

Rule: an archive of a few bytes can hold gigabytes; it must not fill the file system of the rest.
"""

from __future__ import annotations

import os

#: The most members of one archive.
MEMBERS = 5_000_000
#: How much of the file system stays free: one part of so many.
_RESERVE = 50


def room(directory: str | os.PathLike[str]) -> int:
    """Return how many bytes may be unpacked into `directory`: what is free, less a reserve."""
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    return max(free - found.f_blocks * found.f_frsize // _RESERVE, 0)
