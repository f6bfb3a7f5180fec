"""Sending input to a process: whole, one client's after the other's, as fast as it is taken.

Rule: who sends waits for room; nothing is kept here.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorFDSet, IWriteDescriptor

from dockerapi.wire.duplex import StreamAborted


class Sending:
    """The way into one descriptor that does not block."""

    def __init__(
        self,
        descriptor: IWriteDescriptor,
        write: Callable[[memoryview], int],
        reactor: IReactorFDSet,
    ) -> None:
        """Send by `write`, which raises as the system call; `descriptor` calls `wake`."""
        self._descriptor = descriptor
        self._write = write
        self._reactor = reactor
        self._closed = False
        self._room: Deferred[None] | None = None
        self._lock = DeferredLock()

    async def send(self, data: bytes) -> None:
        """Send `data` whole; raises `StreamAborted` where nobody takes it any more."""
        async with self._lock:
            await self._send(data)

    def wake(self) -> None:
        """Go on: there is room."""
        self._reactor.removeWriter(self._descriptor)
        if self._room is not None and not self._room.called:
            self._room.callback(None)

    def close(self, shut: Callable[[], None]) -> None:
        """Send no more: `shut` closes the descriptor, then who waits is told by `StreamAborted`."""
        self._closed = True
        self._reactor.removeWriter(self._descriptor)
        shut()
        if self._room is not None and not self._room.called:
            self._room.errback(StreamAborted("the container has ended"))

    async def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._closed:
                raise StreamAborted("the container has ended")
            try:
                sent = self._write(view)
            except BlockingIOError:
                await self._until_room()
                continue
            except OSError as error:
                raise StreamAborted(f"the input is closed: {error}") from error
            view = view[sent:]

    async def _until_room(self) -> None:
        self._room = Deferred()
        self._reactor.addWriter(self._descriptor)
        try:
            await self._room
        finally:
            self._room = None
            if not self._closed:
                self._reactor.removeWriter(self._descriptor)
