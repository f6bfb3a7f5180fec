"""One at a time for each name: locks that are there only while somebody holds or awaits one.

Rule: whoever gives up waiting leaves no lock behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from twisted.internet.defer import DeferredLock


class NamedLocks:
    """Locks by name."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[DeferredLock, list[None]]] = {}

    @contextlib.asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Wait for the turn at `name`, and hold it for the block."""
        lock, users = self._locks.setdefault(name, (DeferredLock(), []))
        users.append(None)
        try:
            await lock.acquire()
            try:
                yield
            finally:
                lock.release()
        finally:
            users.pop()
            if not users:
                self._locks.pop(name, None)
