"""Mounting overlay file systems by one system call, whatever the number and names of layers.

Source: the kernel's Documentation/filesystems/overlayfs.rst. Rule: options never pass the page
that the kernel reads, nor need escapes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dockerapi.local.host.syscalls import MOUNT_OPTIONS_LIMIT, MountFlag, mount

_SPECIAL = frozenset(":,\\")


def mount_overlay(
    target: Path,
    lower: Sequence[Path],
    upper: Path | None = None,
    work: Path | None = None,
    *,
    flags: MountFlag | int = 0,
    volatile: bool = False,
) -> None:
    """Mount `lower` (topmost first) under `upper` at `target`.

    Without `upper` and `work` the mount is read-only (at least two `lower` then). With `volatile`
    nothing is synced to disk: for what need not outlive a crash. Blocks for about 0.2 ms.
    """
    layers = [os.fspath(path) for path in lower]
    options = _options(layers, upper, work, volatile)
    if len(os.fsencode(options)) <= MOUNT_OPTIONS_LIMIT and not any(
        _SPECIAL.intersection(layer) for layer in layers
    ):
        mount("overlay", target, "overlay", flags, options)
        return
    # Descriptors have short names without special characters: 128 layers fit into the page.
    with ExitStack() as stack:
        named = []
        for layer in layers:
            descriptor = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            named.append(f"/proc/self/fd/{descriptor}")
        mount("overlay", target, "overlay", flags, _options(named, upper, work, volatile))


def _options(lower: Sequence[str], upper: Path | None, work: Path | None, volatile: bool) -> str:
    options = ["lowerdir=" + ":".join(lower)]
    if upper is not None:
        options += [f"upperdir={_escape(upper)}", f"workdir={_escape(work or upper)}"]
    if volatile:
        options.append("volatile")
    return ",".join(options)


def _escape(path: Path) -> str:
    return os.fspath(path).replace("\\", "\\\\").replace(",", "\\,")
