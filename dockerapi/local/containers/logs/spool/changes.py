"""Word of changes of files, by inotify.

Rule: a file is watched only while somebody waits, and once for all who wait.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.inotify import IN_MODIFY, INotify
from twisted.internet.interfaces import IReactorTime
from twisted.python._inotify import INotifyError
from twisted.python.filepath import FilePath

T = TypeVar("T")


def give_up(waiter: Deferred[T]) -> None:
    """Wait no more; harmless when `waiter` has fired."""
    waiter.addErrback(lambda failure: failure.trap(CancelledError))
    waiter.cancel()


class Changes:
    """Tells of changes of files; one descriptor for all."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._notifier: INotify | None = None
        self._waiting: dict[Path, list[Deferred[None]]] = {}

    def next(self, path: Path, timeout: float | None = None) -> Deferred[None]:
        """Return a Deferred that fires when the file at `path` next changes, or after `timeout`.

        What happened before the call tells nobody: look after it. A file that is not there, or that
        is replaced, is told of by `tell` only.
        """
        waiters = self._waiting.get(path)
        if waiters is None:
            waiters = self._waiting[path] = []
            self._watch(path)
        waiter: Deferred[None] = Deferred(lambda _: self._leave(path, waiter))
        waiters.append(waiter)
        if timeout is not None:
            waiter.addTimeout(timeout, self._clock, onTimeoutCancel=lambda _, __: None)
        return waiter

    def tell(self, path: Path) -> None:
        """Tell those who wait for a change of `path` that there is one."""
        waiters = self._waiting.pop(path, [])
        self._ignore(path)
        for waiter in waiters:
            waiter.callback(None)

    def stop(self) -> None:
        """Watch no more."""
        if self._notifier is not None:
            self._notifier.loseConnection()
            self._notifier = None

    def _watch(self, path: Path) -> None:
        if self._notifier is None:
            self._notifier = INotify()
            self._notifier.startReading()
        # A file that is not there cannot be watched.
        with suppress(INotifyError):
            self._notifier.watch(
                FilePath(str(path)), IN_MODIFY, callbacks=[lambda *_: self.tell(path)]
            )

    def _leave(self, path: Path, waiter: Deferred[None]) -> None:
        waiters = self._waiting.get(path, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters and self._waiting.pop(path, None) is not None:
            self._ignore(path)

    def _ignore(self, path: Path) -> None:
        # The file may be gone, and the watch with it.
        with suppress(KeyError):
            if self._notifier is not None:
                self._notifier.ignore(FilePath(str(path)))
