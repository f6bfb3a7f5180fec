"""Network namespaces, pinned by a bind mount so that they outlive whoever made them.

Rule: a thread that has entered a namespace ends there; everything here blocks.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dockerapi.local.host.syscalls import (
    MountFlag,
    Namespace,
    UnmountFlag,
    mount,
    setns,
    umount,
    unshare,
)

T = TypeVar("T")

#: Set in every namespace before its links come: dockerd's defaults for containers.
_SETTINGS = {
    # Links other than lo have IPv6 only where a network has it.
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/ping_group_range": "0 2147483647",
}


def make_namespace(pin: Path, within: Callable[[], T]) -> T:
    """Make a network namespace, pin it at `pin` and return what `within`, called in it, returns.

    Raises OSError, and leaves nothing behind then.
    """

    def enter() -> T:
        unshare(Namespace.NET)
        for name, value in _SETTINGS.items():
            _write_setting(Path("/proc/sys/net", name), value)
        pin.touch(mode=0o400, exist_ok=False)
        try:
            mount("/proc/thread-self/ns/net", pin, flags=MountFlag.BIND)
            return within()
        except BaseException:
            remove_namespace(pin)
            raise

    return in_own_thread(enter)


def in_namespace(pin: Path, within: Callable[[], T]) -> T:
    """Call `within` inside the namespace pinned at `pin` and return its result."""

    def enter() -> T:
        descriptor = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor, Namespace.NET)
        finally:
            os.close(descriptor)
        return within()

    return in_own_thread(enter)


def remove_namespace(pin: Path) -> bool:
    """Let go of the namespace pinned at `pin`; it dies with its last process, its links with it.

    Nothing happens where there is none. Returns False where something else holds it, so that it
    and its links live on: somebody bound the directory elsewhere with what was mounted in it.
    """
    while is_pinned(pin):
        umount(pin, UnmountFlag.DETACH | UnmountFlag.NOFOLLOW)
    try:
        pin.unlink(missing_ok=True)
    except OSError as error:
        # `mount --rbind / /elsewhere` copies the pin, and the copy is mounted on this very file.
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def is_pinned(pin: Path) -> bool:
    """Tell whether a namespace is mounted at `pin`, and not just the file that it hides."""
    try:
        status = os.lstat(pin)
        parent = os.lstat(pin.parent)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_dev != parent.st_dev


def in_own_thread(fn: Callable[[], T]) -> T:
    """Call `fn` in a thread that ends with it, and return its result."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(fn())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name="dockerapi-namespace", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _write_setting(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except FileNotFoundError:
        # A kernel without IPv6 has no such setting, and needs none.
        return
