"""syncfs(2): all that was written to one file system, brought onto its disk.

Rule: it blocks for as long as the disk takes, which may be seconds: never in the reactor's thread.
"""

from __future__ import annotations

import ctypes
import os

from dockerapi.local.host.syscalls import StrPath

# CDLL, not PyDLL: its calls let go of the interpreter's lock.
_libc = ctypes.CDLL(None, use_errno=True)


def sync_filesystem(path: StrPath) -> None:
    """Bring the file system of `path` onto its disk; raise OSError where that fails."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(path))
    finally:
        os.close(descriptor)
