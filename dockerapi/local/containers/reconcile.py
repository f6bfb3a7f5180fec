"""Taking up again, at start, what an earlier server left: on disk, in the kernel, in the database.

Rule: the database says what there is; what runs is believed only by its pid and start time; all
else that carries a container's id is removed.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from dockerapi.local.containers import records
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.ledger import Ledger
from dockerapi.local.containers.lifecycle import Lifecycle
from dockerapi.local.containers.monitor import read_end
from dockerapi.local.containers.needs import Networks
from dockerapi.local.containers.places import Places
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.rootfs import Directories, remove, unmount_root
from dockerapi.local.containers.runtime import remove_cgroups
from dockerapi.local.containers.spec import CGROUP_PARENT
from dockerapi.local.containers.tools import Toolbox
from dockerapi.local.containers.transitions import moved
from dockerapi.local.host.pidfd import exit_of, open_process, start_time_of
from dockerapi.local.host.threads import in_thread
from dockerapi.local.layout import Layout
from dockerapi.local.store import Store

_log = Logger()
_ID = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class Reconciliation:
    """One comparison of what is kept with what there is."""

    store: Store
    registry: Registry
    ledger: Ledger
    places: Places
    toolbox: Toolbox
    lifecycle: Lifecycle
    networks: Networks

    async def run(self) -> None:
        """Load every container, follow those that run, record the end of those that ended."""
        for container in await self.store.read(records.load):
            self.registry.add(container)
        ended = []
        for container in self.registry:
            if container.state.running or self._was_let_go(container):
                if not await self._adopt(container):
                    ended.append(container)
            else:
                await self._clear(container)
        for container in ended:
            await self._record_end(container)
        await self._remove_strangers()
        await self.networks.reconcile([one.id for one in self.registry if one.state.running])

    def _was_let_go(self, container: Container) -> bool:
        """Tell whether a start went through without being written down; note its process then."""
        watch = self.places.watch(container)
        try:
            pid = int(watch.pid_file.read_text())
        except (OSError, ValueError):
            return False
        start_time = start_time_of(pid)
        tools = self.toolbox.tools
        waiting = False
        if tools is not None:
            root = tools.runtime_of(container.id).root
            waiting = (root / container.id / "exec.fifo").exists()
        if start_time is None or waiting or not _belongs(pid, container.id):
            return False
        container.state = moved(
            container.state,
            Status.RUNNING,
            pid=pid,
            start_time=start_time,
            started_at=time.time_ns(),
        )
        return True

    async def _adopt(self, container: Container) -> bool:
        """Follow a container that runs on; return False where it has ended."""
        state, watch = container.state, self.places.watch(container)
        try:
            pidfd = open_process(state.pid, state.start_time)
        except OSError:
            return False
        container.sandbox = self.networks.sandbox(container.id)
        await self.ledger.save(container, state)
        self.lifecycle.follow(container, pidfd, _monitor(watch.conmon_pid_file), watch)
        return True

    async def _record_end(self, container: Container) -> None:
        """Record how a container ended while no server ran."""
        watch = self.places.watch(container)
        end = await in_thread(read_end, watch.exit_file, watch.oom_file, None, time.time_ns())
        await self.lifecycle.end(container, end)

    async def _clear(self, container: Container) -> None:
        """Take away what is left of an unfinished start, and mounts of what does not run."""
        directories = self.places.directories(container)
        if self.toolbox.tools is not None:
            runtime = self.toolbox.tools.runtime_of(container.id)
            if (runtime.root / container.id).exists():
                await runtime.delete(container.id, by_hand=False)
        await in_thread(unmount_root, directories)

    async def _remove_strangers(self) -> None:
        """Remove what is left of containers that are not in the database."""
        known = {container.id for container in self.registry}
        layout = self.places.layout
        for identity in await in_thread(_strangers, layout, known):
            _log.info("removing what is left of the container {id}", id=identity)
            if self.toolbox.tools is not None:
                await self.toolbox.tools.runtime_of(identity).delete(identity, by_hand=False)
            await in_thread(_sweep, layout, identity)


def _belongs(pid: int, identity: str) -> bool:
    """Tell whether a process is in the cgroup of the container `identity`."""
    try:
        return f"/{CGROUP_PARENT}/{identity}" in Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return False


def _monitor(pid_file: Path) -> Deferred[None]:
    """Return a Deferred that fires at the end of the conmon of a pid file; at once without one."""
    try:
        pid = int(pid_file.read_text())
        pidfd = open_process(pid)
    except (OSError, ValueError):
        return succeed(None)
    try:
        if Path(f"/proc/{pid}/comm").read_text().strip() != "conmon":
            return succeed(None)
        return exit_of(pidfd)
    except OSError:
        return succeed(None)
    finally:
        os.close(pidfd)


def _strangers(layout: Layout, known: set[str]) -> set[str]:
    """Return the ids of containers that left traces and are not in the database."""
    found: set[str] = set()
    for folder in (layout.containers, layout.containers_run):
        if folder.is_dir():
            found |= {entry.name for entry in folder.iterdir() if _ID.fullmatch(entry.name)}
    return found - known


def _sweep(layout: Layout, identity: str) -> None:
    remove_cgroups(identity)
    remove(Directories.of(layout, identity))
