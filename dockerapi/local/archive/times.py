"""The times of what comes out of archives."""

from __future__ import annotations

import os

#: The latest time that dockerd sets, in seconds since 1970: what 63 bits of nanoseconds hold.
LATEST = (2**63 - 1) / 1e9


def set_times(name: int | str | bytes, mtime: float, *, directory: int | None = None) -> None:
    """Set when something was read and changed, in seconds since 1970.

    `name` is an open file, or a name in the open `directory`, of which a link is not followed. A
    time before 1970 or after 2262 becomes 1970, as dockerd has it. Raises OSError.
    """
    moment = mtime if 0 <= mtime <= LATEST else 0.0
    if directory is None:
        os.utime(name, (moment, moment))
    else:
        os.utime(name, (moment, moment), dir_fd=directory, follow_symlinks=False)
