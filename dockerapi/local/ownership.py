"""One server for each data root and run root: the locks that say whose they are.

Rule: the kernel holds the lock for as long as the process lives, so a crash leaves none behind.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from dockerapi.engine.errors import EngineError

#: The lock's file in each root.
_NAME = "lock"


class Ownership:
    """The roots that this process owns."""

    def __init__(self, *roots: Path) -> None:
        self._roots = roots
        self._descriptors: list[int] = []

    @property
    def taken(self) -> bool:
        """Whether this process owns the roots."""
        return bool(self._descriptors)

    def take(self) -> None:
        """Take every root; raise `EngineError` where another server has one, OSError else."""
        try:
            for root in self._roots:
                self._descriptors.append(_locked(root))
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let others have them; harmless when nothing is held."""
        descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            os.close(descriptor)


def _locked(root: Path) -> int:
    """Return a descriptor that holds the lock of `root`."""
    path = root / _NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise EngineError(
            f"{root} is in use by another server{f' (process {holder})' if holder else ''}: "
            "stop that one, or choose others with --data-root and --exec-root"
        ) from None
    # Only for people; on a disk that is full the lock holds without it.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
