"""Word of containers that run out of memory, of those too that live on.

Source: dockerd's event `oom`, one for each time; conmon opens a file `oom` each time.
Rule: a container's end tells of the shortage that ended it, where nobody has told of one yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import structs
from twisted.internet.inotify import IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, INotify
from twisted.python._inotify import INotifyError
from twisted.python.filepath import FilePath

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.ledger import Ledger, event


class Shortages:
    """Watches containers whose memory is limited; one descriptor for all.

    `keep` runs work that is finished before the server ends.
    """

    def __init__(self, ledger: Ledger, keep: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._ledger = ledger
        self._keep = keep
        self._notifier: INotify | None = None
        self._watched: dict[str, FilePath[str]] = {}
        #: Those that are being told of, and whether it has happened again meanwhile.
        self._telling: dict[str, bool] = {}

    def watch(self, container: Container, oom_file: Path) -> None:
        """Tell from now on each time that a container which runs has no memory left.

        `oom_file` is what its monitor makes then. What happened before is told at once.
        """
        if container.host_config.memory <= 0:
            # Only the host's own shortage can concern it, which ends it.
            return
        directory = FilePath(str(oom_file.parent))
        run = container.state.started_at

        def closed(_: object, path: FilePath[bytes], mask: int) -> None:
            if path.basename() == os.fsencode(oom_file.name):
                self._happened(container, run)

        if self._notifier is None:
            self._notifier = INotify()
            self._notifier.startReading()
        # Where its monitor is gone already, its end is about to be told.
        with suppress(INotifyError):
            self._notifier.watch(directory, IN_CLOSE_NOWRITE | IN_CLOSE_WRITE, callbacks=[closed])
            self._watched[container.id] = directory
        if oom_file.exists() and not container.state.oom_killed:
            self._happened(container, run)

    def leave(self, container: Container) -> None:
        """Watch a container that has ended no more."""
        directory = self._watched.pop(container.id, None)
        if directory is not None and self._notifier is not None:
            # The directory may be gone, and the watch with it.
            with suppress(KeyError):
                self._notifier.ignore(directory)

    def stop(self) -> None:
        """Watch nothing any more."""
        self._watched.clear()
        if self._notifier is not None:
            self._notifier.loseConnection()
            self._notifier = None

    def _happened(self, container: Container, run: int) -> None:
        if container.id in self._telling:
            self._telling[container.id] = True
            return
        self._telling[container.id] = False
        self._keep(self._tell(container, run))

    async def _tell(self, container: Container, run: int) -> None:
        """Tell of a shortage, and of those that came while that was done as of one.

        `run` is when the container was started.
        """
        try:
            while True:
                async with container.lock:
                    # With its end the container has told of it.
                    if not container.state.running or container.state.started_at != run:
                        return
                    if container.state.oom_killed:
                        self._ledger.publish(container, "oom")
                    else:
                        state = structs.replace(container.state, oom_killed=True)
                        await self._ledger.save(container, state, event(container, "oom"))
                if not self._telling[container.id]:
                    return
                self._telling[container.id] = False
        finally:
            del self._telling[container.id]
