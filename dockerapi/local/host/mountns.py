"""A mount namespace of our own, in which one directory is hidden, to start children in.

Source: mount_namespaces(7). It serves crun on hosts with cgroups of both versions: crun refuses
those, and works where it does not see the second. Rule: what is mounted beneath the shared
directory is seen in both namespaces, and its end too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dockerapi.local.host.spawn import Process, spawned, start_child
from dockerapi.local.host.syscalls import (
    MountFlag,
    Namespace,
    StrPath,
    UnmountFlag,
    mount,
    umount,
    unshare,
)
from dockerapi.local.host.threads import submit


class MountNamespace:
    """A thread that lives in the namespace, and starts children there.

    :ivar shared: the directory whose mounts are seen on both sides; it becomes a mount point.
    """

    def __init__(self, shared: Path, hidden: Path) -> None:
        self.shared = shared
        self._hidden = hidden
        self._directory = os.getcwd()
        self._thread = ThreadPoolExecutor(1, "dockerapi-mounts")

    def open(self) -> None:
        """Make the namespace; blocks for about a millisecond.

        Raises OSError, also where something is mounted beneath `shared` that is not shared.
        """
        _share(self.shared)
        self._thread.submit(self._enter).result()

    def _enter(self) -> None:
        unshare(Namespace.MOUNT)
        # What is mounted on the host from now on comes here, and nothing goes back.
        mount("none", "/", "", MountFlag.REC | MountFlag.SLAVE)
        mount("tmpfs", self._hidden, "tmpfs", MountFlag.NOSUID | MountFlag.NODEV, "size=0,mode=755")

    async def spawn(
        self,
        argv: Sequence[StrPath],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Iterable[int] = (),
        directory: StrPath | None = None,
    ) -> Process:
        """Start a child in the namespace, else as `dockerapi.local.host.spawn.spawn`."""
        streams = (stdin, stdout, stderr)
        fds, where = tuple(pass_fds), directory or self._directory
        return await spawned(submit(self._thread, start_child, argv, streams, env, fds, where))

    def close(self) -> None:
        """Leave the namespace, which lives on with its children.

        `shared` stays a mount point where anything is still mounted beneath it.
        """
        self._thread.shutdown()
        stop_sharing(self.shared)


def stop_sharing(path: Path) -> None:
    """Make `path` a plain directory again where nothing is mounted beneath it."""
    if _mounts_beneath(path) == [os.fspath(path.resolve())]:
        umount(path, UnmountFlag.DETACH)


def _share(path: Path) -> None:
    """Make `path` a mount point that is shared."""
    beneath = _mounts_beneath(path)
    own = os.fspath(path.resolve())
    if own not in beneath:
        if beneath:
            raise OSError(f"something is mounted beneath {path}, which is not shared")
        mount(path, path, "", MountFlag.BIND)
    mount("none", path, "", MountFlag.SHARED)


def _mounts_beneath(path: Path) -> list[str]:
    """Return the mount points that are `path` or beneath it."""
    own = os.fspath(path.resolve())
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [line.split()[4] for line in file]
    return [point for point in points if point == own or point.startswith(f"{own}/")]
