"""Taking away what a container has beside its record: runtime state, mounts, network, files.

Rule: everything here may be done twice, and what fails is logged: the record is gone or right
already, and `reconcile` tries again at the next start.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.mounts.volumes import VolumeMounts
from dockerapi.local.containers.needs import Networks
from dockerapi.local.containers.runtime.cgroups import cgroup_path
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.rootfs import remove, unmount_root
from dockerapi.local.containers.runtime.tools import Toolbox
from dockerapi.local.host.threads import in_thread


class Cleaner:
    """Cleans up behind containers.

    A root that `root_in_use` says somebody reads in is left to whoever mounted it.
    """

    log = Logger()

    def __init__(
        self,
        toolbox: Toolbox,
        places: Places,
        networks: Networks,
        volumes: VolumeMounts,
        root_in_use: Callable[[Container], bool],
    ) -> None:
        self._toolbox = toolbox
        self._places = places
        self._networks = networks
        self._volumes = volumes
        self._root_in_use = root_in_use

    def announce(self, container: Container) -> None:
        """Tell that `after_end` comes, before others learn that the container has ended.

        Whoever asks from then on sees no network of it.
        """
        self._networks.leaving(container.id)
        container.sandbox = None

    async def after_end(self, container: Container, *, by_force: bool = False) -> None:
        """Take away what only a container that runs needs; `by_force` kills what is left in it."""
        try:
            private = not container.host_config.pid_mode and not by_force
            await self._forget_state(container, by_hand=private)
        except Exception:
            self.log.failure("the runtime keeps the container {id}", id=container.id)
        try:
            await in_thread(self._release, container)
        except Exception:
            self.log.failure("the root of the container {id} is mounted still", id=container.id)
        try:
            await self._volumes.detach(container)
        except Exception:
            self.log.failure("the container {id} keeps its volumes", id=container.id)
        try:
            await self._networks.disconnect(container.id)
        except Exception:
            self.log.failure("the container {id} keeps its network", id=container.id)
        container.sandbox = None

    async def _forget_state(self, container: Container, *, by_hand: bool) -> None:
        if self._toolbox.tools is not None:
            runtime = self._toolbox.tools.runtime_of(container.id)
            cgroup = cgroup_path(container.id, container.host_config)
            await runtime.delete(container.id, cgroup, by_hand=by_hand)

    def _release(self, container: Container) -> None:
        """Unmount the root, and tell `reconcile` that no process is left to account for."""
        if not self._root_in_use(container):
            unmount_root(self._places.directories(container))
        self._places.watch(container).pid_file.unlink(missing_ok=True)

    async def forget_volumes(self, container: Container) -> None:
        """Give back the volumes of a container that was forgotten."""
        try:
            await self._volumes.forget(container)
        except Exception:
            self.log.failure("volumes of the container {id} are left", id=container.id)

    async def remove_files(self, container: Container) -> None:
        """Remove the files of a container that was forgotten."""
        try:
            await in_thread(remove, self._places.directories(container))
        except OSError:
            self.log.failure("files of the container {id} are left", id=container.id)
