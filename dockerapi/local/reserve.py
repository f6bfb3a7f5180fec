"""A file that is in the way on purpose, so that there is room for removals on a full disk.

Rule: once its room was given away, whoever needs more must first leave room for it again.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

#: How much of the disk is held, in bytes.
SIZE = 1024 * 1024


class Reserve:
    """The file; its methods block for a moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = False

    def hold(self) -> bool:
        """Make the file where it is not there; return False where there is no room for it."""
        if self._held:
            return True
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
            self._held = True
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._path.unlink()
        finally:
            os.close(descriptor)
        return self._held

    def spend(self) -> None:
        """Remove the file."""
        self._held = False
        self._path.unlink(missing_ok=True)
