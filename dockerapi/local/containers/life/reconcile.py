"""Taking up again, at start, what an earlier server left: on disk, in the kernel, in the database.

Rule: the database says what there is; what runs is believed only by its pid and start time; all
else that carries a container's id is removed.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers import records
from dockerapi.local.containers.archive.marks import mark_of
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.ledger import Ledger, event
from dockerapi.local.containers.life.leftovers import Helper, find_helpers, kill, traces, wait_for
from dockerapi.local.containers.life.lifecycle import Lifecycle
from dockerapi.local.containers.life.transitions import moved
from dockerapi.local.containers.mounts.volumes import VolumeMounts
from dockerapi.local.containers.needs import Networks
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.cgroups import cgroup_path, holds, remove_cgroups
from dockerapi.local.containers.runtime.conmon import Watch
from dockerapi.local.containers.runtime.joining import join_again
from dockerapi.local.containers.runtime.monitor import MONITOR_PATIENCE, read_end
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.rootfs import Directories, remove, unmount_root
from dockerapi.local.containers.runtime.runtime import Runtime
from dockerapi.local.containers.runtime.tools import Toolbox
from dockerapi.local.host.pidfd import exit_of, open_process, start_time_of
from dockerapi.local.host.threads import in_thread
from dockerapi.local.layout import Layout
from dockerapi.local.store import Store

_log = Logger()
#: How runc's processes are called until a container's own program takes over.
_RUNC_INIT = ("runc:[1:CHILD]", "runc:[2:INIT]")


class Reconciliation(msgspec.Struct, frozen=True):
    """One comparison of what is kept with what there is."""

    store: Store
    registry: Registry
    ledger: Ledger
    places: Places
    toolbox: Toolbox
    lifecycle: Lifecycle
    networks: Networks
    volumes: VolumeMounts

    async def run(self) -> None:
        """Load every container, follow those that run, record the end of those that ended."""
        for container in await self.store.read(records.load):
            self.registry.add(container)
        layout = self.places.layout
        helpers = await in_thread(find_helpers, layout)
        for container in self.registry:
            left = helpers.get(container.id, [])
            try:
                await self._take_up(container, left)
            except Exception:
                # One that cannot be taken up must not keep the others from it.
                _log.failure("the container {id} was not taken up", id=container.id)
        await self._remove_strangers(helpers)
        await self.networks.reconcile([one.id for one in self.registry if one.state.running])
        await self.volumes.reconcile()

    async def _take_up(self, container: Container, left: Sequence[Helper]) -> None:
        """Follow a container, record its end, or clear what is left of it; `left` are its own."""
        watch = self.places.watch(container)
        state = container.state
        if state.status is not Status.DEAD and (
            state.running or self._was_let_go(container, watch)
        ):
            if not await self._adopt(container, watch, left):
                await self._record_end(container, watch, left)
        else:
            await self._clear(container, watch, left)
        await self._thaw(container)

    def _was_let_go(self, container: Container, watch: Watch) -> bool:
        """Tell whether a start went through without being written down; note its process then.

        Its process may have ended since.
        """
        try:
            pid, made = int(watch.pid_file.read_text()), watch.pid_file.stat().st_mtime_ns
        except (OSError, ValueError):
            return False
        if made <= container.state.finished_at or self._waits(container.id, pid):
            return False
        start_time = start_time_of(pid) if holds(container.id, pid) else None
        if start_time is None and not watch.exit_file.exists():
            return False
        container.state = moved(
            container.state,
            Status.RUNNING,
            pid=pid,
            start_time=start_time or 0,
            started_at=made,
            finished_at=0,
            error="",
        )
        return True

    def _waits(self, identity: str, pid: int) -> bool:
        """Tell whether a container was made and not let go."""
        runtime = self._runtime_of(identity)
        if runtime is None or not (runtime.root / identity / "exec.fifo").exists():
            return False
        # runc's is opened before it is removed: the name of the process tells.
        return runtime.name != "runc" or _name_of(pid) in (None, *_RUNC_INIT)

    async def _adopt(self, container: Container, watch: Watch, left: Sequence[Helper]) -> bool:
        """Follow a container that runs on; return False where it has ended."""
        state = container.state
        try:
            pidfd = open_process(state.pid, state.start_time)
        except OSError:
            return False
        container.sandbox = self.networks.sandbox(container.id)
        join_again(container, self.registry, self.networks)
        await self.ledger.save(container, state)
        self.lifecycle.follow(container, pidfd, _monitor(watch.conmon_pid_file), watch)
        execs = {helper.exec_id for helper in left}
        await in_thread(_remove_execs, self.places.directories(container), execs)
        return True

    async def _thaw(self, container: Container) -> None:
        """Thaw a container that was frozen for a commit whose server was killed."""
        mark = mark_of(self.places.directories(container))
        if not await in_thread(mark.exists):
            return
        runtime = self._runtime_of(container.id)
        if container.state.running and runtime is not None:
            try:
                await runtime.check("resume", container.id)
            except EngineError as error:
                # It was not frozen yet, or not any more.
                _log.debug("the container {id}: {reason}", id=container.id, reason=error.message)
            if container.state.status is Status.PAUSED:
                state = moved(container.state, Status.RUNNING)
                await self.ledger.save(container, state, event(container, "unpause"))
        await in_thread(mark.unlink, missing_ok=True)

    async def _record_end(self, container: Container, watch: Watch, left: Sequence[Helper]) -> None:
        """Record how a container ended while no server ran."""
        # A monitor may still be about to say how.
        own = [helper for helper in left if not helper.exec_id]
        await in_thread(wait_for, own, MONITOR_PATIENCE)
        end = await in_thread(read_end, watch.exit_file, watch.oom_file, None, time.time_ns())
        await in_thread(kill, left, self.places.layout)
        await self.lifecycle.end(container, end)

    async def _clear(self, container: Container, watch: Watch, left: Sequence[Helper]) -> None:
        """Take away what is left of an unfinished start, and mounts of what does not run."""
        await in_thread(kill, left, self.places.layout)
        await self._delete_state(container.id)
        await in_thread(unmount_root, self.places.directories(container))
        for file in (watch.pid_file, watch.exit_file):
            file.unlink(missing_ok=True)

    async def _remove_strangers(self, helpers: Mapping[str, Sequence[Helper]]) -> None:
        """Remove what is left of containers that are not in the database."""
        layout = self.places.layout
        found = await in_thread(traces, layout)
        for identity in (found | helpers.keys()) - {one.id for one in self.registry}:
            _log.info("removing what is left of the container {id}", id=identity)
            await in_thread(kill, helpers.get(identity, ()), layout)
            await self._delete_state(identity)
            await in_thread(_sweep, layout, identity)

    async def _delete_state(self, identity: str) -> None:
        """Have the runtime forget a container, and kill what is left in it, where it knows it."""
        runtime = self._runtime_of(identity)
        if runtime is not None and (runtime.root / identity).exists():
            await runtime.delete(identity, cgroup_path(identity), by_hand=False)

    def _runtime_of(self, identity: str) -> Runtime | None:
        """Return the runtime of a container; None where it is not installed any more."""
        try:
            return self.toolbox.require().runtime_of(identity)
        except EngineError as error:
            _log.warn("the container {id}: {reason}", id=identity, reason=error.message)
            return None


def _name_of(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def _monitor(pid_file: Path) -> Deferred[None]:
    """Return a Deferred that fires at the end of the conmon of a pid file; at once without one."""
    try:
        pid = int(pid_file.read_text())
        pidfd = open_process(pid)
    except (OSError, ValueError):
        return succeed(None)
    try:
        return exit_of(pidfd) if _name_of(pid) == "conmon" else succeed(None)
    finally:
        os.close(pidfd)


def _remove_execs(directories: Directories, living: Collection[str]) -> None:
    """Remove the directories of execs that ended while no server ran."""
    folder = directories.run / "execs"
    if folder.is_dir():
        for entry in folder.iterdir():
            if entry.name not in living:
                shutil.rmtree(entry, ignore_errors=True)


def _sweep(layout: Layout, identity: str) -> None:
    remove_cgroups(cgroup_path(identity))
    for folder in os.scandir(layout.run):
        # Whatever runtime it was, each has a directory of its name.
        if folder.is_dir(follow_symlinks=False):
            shutil.rmtree(Path(folder.path, identity), ignore_errors=True)
    remove(Directories.of(layout, identity))
