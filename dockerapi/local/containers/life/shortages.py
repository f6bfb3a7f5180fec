"""Word of containers that run out of memory, of those too that live on.

Source: dockerd's event `oom`, one for each time. With cgroups of version 1 conmon opens a file
`oom` each time; of version 2 it misses most, so the kernel's own count is read (`memory.events`).
Rule: a container's end tells of the shortage that ended it, where nobody has told of one yet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import structs
from twisted.internet.inotify import IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_MODIFY, INotify
from twisted.python._inotify import INotifyError
from twisted.python.filepath import FilePath

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.ledger import Ledger, event
from dockerapi.local.containers.runtime.cgroups import ROOT, cgroup_path
from dockerapi.local.containers.runtime.resources import cgroup_support


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
        sign = _Count(_events_of(container)) if cgroup_support().unified else _Mark(oom_file)
        path = FilePath(str(sign.path))
        run = container.state.started_at

        def changed(_: object, path: FilePath[bytes], mask: int) -> None:
            if sign.tells(path.basename()):
                self._happened(container, run)

        if self._notifier is None:
            self._notifier = INotify()
            self._notifier.startReading()
        # Where its monitor or its cgroup is gone already, its end is about to be told.
        with suppress(INotifyError):
            self._notifier.watch(path, sign.mask, callbacks=[changed])
            self._watched[container.id] = path
        if sign.there() and not container.state.oom_killed:
            self._happened(container, run)

    def leave(self, container: Container) -> None:
        """Watch a container that has ended no more."""
        path = self._watched.pop(container.id, None)
        if path is not None and self._notifier is not None:
            # What was watched may be gone, and the watch with it.
            with suppress(KeyError):
                self._notifier.ignore(path)

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


class _Mark:
    """The file that a monitor opens at each shortage.

    :ivar path: what is to be watched for `mask`.
    """

    mask = IN_CLOSE_NOWRITE | IN_CLOSE_WRITE

    def __init__(self, file: Path) -> None:
        self.path = file.parent
        self._file = file

    def there(self) -> bool:
        """Tell whether there was a shortage already."""
        return self._file.exists()

    def tells(self, name: bytes) -> bool:
        """Tell whether a change of the file `name` means one."""
        return name == os.fsencode(self._file.name)


class _Count:
    """The kernel's count of processes that it killed; as `_Mark`."""

    mask = IN_MODIFY

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = 0

    def there(self) -> bool:
        return self.tells(b"")

    def tells(self, name: bytes) -> bool:
        seen, self._seen = self._seen, self._now()
        return self._seen > seen

    def _now(self) -> int:
        try:
            lines = self.path.read_text().splitlines()
        except OSError:
            # The cgroup has gone.
            return self._seen
        return max(
            (int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), default=0
        )


def _events_of(container: Container) -> Path:
    return ROOT / cgroup_path(container.id, container.host_config) / "memory.events"
