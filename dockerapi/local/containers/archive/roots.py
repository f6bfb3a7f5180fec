"""The roots of containers for those who read and write in them, mounted for as long as they do.

Rule: a container that runs is reached through its own process, with its mounts; another one's root
is mounted on the host, once for all who use it, and never while a start or an end is under way.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from secrets import token_hex

import msgspec

from dockerapi.engine.errors import Conflict, InvalidParameter
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.mounts.point import BIND, VOLUME, MountPoint
from dockerapi.local.containers.needs import Volumes
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.rootfs import Directories, mount_root, unmount_root
from dockerapi.local.containers.security.workdir import make_workdir
from dockerapi.local.host.beneath import make_directories, make_file
from dockerapi.local.host.pidfd import start_time_of
from dockerapi.local.host.threads import finished, in_thread


class Reach(msgspec.Struct, frozen=True):
    """How a child comes into a container.

    :ivar arguments: what `dockerapi.local.archive.child` takes as a root.
    :ivar descriptors: what it is to inherit.
    """

    arguments: Sequence[str]
    descriptors: Sequence[int] = ()


class Roots:
    """Mounts and reaches roots."""

    def __init__(self, places: Places, volumes: Volumes) -> None:
        self._places = places
        self._volumes = volumes
        self._users: Counter[str] = Counter()

    def in_use(self, container: Container) -> bool:
        """Tell whether somebody reads or writes in a root that is mounted on the host."""
        return container.id in self._users

    @asynccontextmanager
    async def mounted(self, container: Container) -> AsyncIterator[Directories]:
        """Keep the root of a container mounted on the host for the time of the block.

        Raises `Conflict` where it is being removed, and `NotFound` where its image is gone.
        """
        directories = self._places.directories(container)
        async with container.lock:
            if container.removing:
                raise Conflict(f"container {container.id} is marked for removal")
            layers = await self._places.layers(container)
            volatile = container.host_config.auto_remove
            try:
                await finished(in_thread(mount_root, directories, layers, volatile=volatile))
                if container.config.working_dir and not container.state.started_at:
                    await in_thread(_make_workdir, directories, container.config.working_dir)
            except BaseException:
                await self._unmount_unused(container, directories)
                raise
            self._users[container.id] += 1
            container.root_uses += 1
        try:
            yield directories
        finally:
            container.root_uses += 1
            async with container.lock:
                self._users[container.id] -= 1
                await self._unmount_unused(container, directories)

    async def _unmount_unused(self, container: Container, directories: Directories) -> None:
        """Unmount a root that nobody uses any more; its container's lock is held."""
        if not self._users[container.id]:
            del self._users[container.id]
            if not container.state.running:
                await in_thread(unmount_root, directories)

    @asynccontextmanager
    async def reached(self, container: Container) -> AsyncIterator[Reach]:
        """Give a way into a container, with its mounts, good for the time of the block.

        Raises as `mounted`.
        """
        descriptor = _open_root(container)
        if descriptor is not None:
            try:
                yield Reach((f"fd:{descriptor}", "0"), (descriptor,))
            finally:
                os.close(descriptor)
            return
        async with self.mounted(container) as directories, AsyncExitStack() as stack:
            for point in container.mounts:
                if point.type == VOLUME:
                    await stack.enter_async_context(self._attached(point.name))
            yield Reach(await in_thread(_arguments, directories, container.mounts))

    @asynccontextmanager
    async def _attached(self, volume: str) -> AsyncIterator[None]:
        """Keep a volume mounted, where it is one that is."""
        holder = f"archive-{token_hex(8)}"
        await self._volumes.attach(volume, holder)
        try:
            yield
        finally:
            await self._volumes.detach(volume, holder)


def _make_workdir(directories: Directories, workdir: str) -> None:
    """Make a working directory, which is there from a container's creation on, as in dockerd."""
    with suppress(InvalidParameter):
        # What is in the way is told when the container is started.
        make_workdir(directories.merged, workdir)


def _open_root(container: Container) -> int | None:
    """Return a descriptor of the root as the process of a container sees it; None without one."""
    state = container.state
    if not state.running:
        return None
    try:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        descriptor = os.open(f"/proc/{state.pid}/root", flags)
    except OSError:
        return None
    # Only now it is sure that the number was that process's when the root was opened.
    if start_time_of(state.pid) != state.start_time:
        os.close(descriptor)
        return None
    return descriptor


def _arguments(directories: Directories, points: Sequence[MountPoint]) -> list[str]:
    """Return the root and its mounts as arguments; makes what they are mounted on. Blocks."""
    words: list[str] = []
    count = 0
    for point in points:
        # Of a tmpfs nothing is left; images are mounted for those that run.
        if point.type not in (BIND, VOLUME) or not os.path.exists(point.source):
            continue
        with suppress(OSError):
            # Something may be in the way: then mounting it fails, and says so.
            if os.path.isdir(point.source):
                make_directories(directories.merged, point.destination)
            else:
                make_file(directories.merged, point.destination)
        access = "ro" if point.read_only else "rw"
        words += [point.source, point.subpath, point.destination, access]
        count += 1
    return [os.fspath(directories.merged), str(count), *words]
