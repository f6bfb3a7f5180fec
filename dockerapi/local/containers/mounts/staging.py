"""Mounts that are made on the host for a container, beneath its own directory, before it starts.

What the runtime binds from there: parts of volumes and images, whose paths may be hostile; images;
and what is mounted itself, or holds mounts, which a runtime in another mount namespace sees only
there. Rule: functions here block; whatever is beneath the directory is unmounted, never removed
through, and its end reaches nothing on the host.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from dockerapi.local.host.beneath import opened_root
from dockerapi.local.host.mounting import unmount_all
from dockerapi.local.host.overlay import mount_overlay
from dockerapi.local.host.syscalls import (
    MountFlag,
    Resolve,
    clone_tree,
    mount,
    mount_tree,
    openat2,
    set_propagation,
)


class NoSuchPath(NotFound):
    """A part of a volume or image is not there."""


_PROPAGATIONS = {
    "private": MountFlag.PRIVATE,
    "slave": MountFlag.SLAVE,
    "shared": MountFlag.SHARED,
}
_BENEATH = Resolve.BENEATH | Resolve.NO_MAGICLINKS


def stage_directory(staging: Path, name: str, source: Path, subpath: str) -> Path:
    """Bind `subpath` of the directory `source` beneath `staging`; return where it is then.

    Raises `EngineError` where there is no such path, or it leads out of `source`.
    """
    with opened_root(source) as root:
        try:
            handle = openat2(root, subpath or ".", os.O_PATH, 0, _BENEATH)
        except OSError as error:
            raise _unreachable(source, subpath, error) from error
        try:
            return _bind(staging, name, handle)
        finally:
            os.close(handle)


def stage_bind(staging: Path, name: str, source: str, propagation: str) -> Path:
    """Bind `source`, with what is mounted inside it, beneath `staging`; return where it is then.

    `propagation` is what the bind in the container is to have.
    """
    handle = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        return _bind(staging, name, handle, _PROPAGATIONS[propagation.removeprefix("r")])
    finally:
        os.close(handle)


def stage_image(staging: Path, name: str, layers: Sequence[Path], subpath: str) -> Path:
    """Mount `layers` (topmost first) read-only beneath `staging`; return where `subpath` is then.

    Raises as `stage_directory`.
    """
    whole, empty = staging / f"{name}.image", staging / "empty"
    _make(staging)
    for path in (whole, empty):
        path.mkdir(mode=0o711, exist_ok=True)
    unmount_all(whole)
    # Without an upper directory it takes two at least.
    mount_overlay(whole, [*layers, empty])
    return stage_directory(staging, name, whole, subpath)


def unstage(staging: Path) -> None:
    """Take away everything beneath `staging`, and `staging`; raises OSError where it cannot.

    Nothing happens where it is not there.
    """
    with suppress(FileNotFoundError):
        for entry in sorted(os.scandir(staging), key=lambda entry: entry.name):
            path = Path(entry.path)
            with suppress(OSError):
                # Else the end of a mount inside it would be that of its peer on the host.
                mount("none", path, "", MountFlag.REC | MountFlag.PRIVATE)
            unmount_all(path)
            # Only what is empty goes: a mount that is left keeps its content.
            if entry.is_dir(follow_symlinks=False):
                path.rmdir()
            else:
                path.unlink()
        staging.rmdir()


def _bind(
    staging: Path, name: str, handle: int, propagation: MountFlag = MountFlag.PRIVATE
) -> Path:
    target = staging / name
    _make(staging)
    unmount_all(target)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        target.mkdir(mode=0o711, exist_ok=True)
    else:
        target.touch(mode=0o600)
    tree = clone_tree(handle)
    try:
        # What is private shares its mounts with the runtime's namespace alone.
        set_propagation(tree, propagation)
        mount_tree(tree, target)
    finally:
        os.close(tree)
    return target


def _make(staging: Path) -> None:
    staging.parent.mkdir(mode=0o710, exist_ok=True)
    staging.mkdir(mode=0o711, exist_ok=True)


def _unreachable(source: Path, subpath: str, error: OSError) -> EngineError:
    if error.errno in (errno.EXDEV, errno.ELOOP):
        return InvalidParameter(
            f"path concatenation escapes the base directory, base: {source}, subpath: {subpath}"
        )
    reason = (error.strerror or "").lower()
    path = source / subpath
    kind = NoSuchPath if error.errno == errno.ENOENT else EngineError
    return kind(f"cannot access path {path}: lstat {path}: {reason}")
