"""Mounting as mount(8) is told to: options in words, in one text.

Source: mount(8) and mount(2); which words are flags, and the texts of errors, as in dockerd. Rule:
functions here block; what is mounted stays until it is unmounted.
"""

from __future__ import annotations

import errno
from pathlib import Path

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.syscalls import MountFlag, UnmountFlag, mount, umount

#: Words of options and their flags; where a word takes a flag away, the second is true.
_FLAGS: dict[str, tuple[int, bool]] = {
    "defaults": (0, False),
    "ro": (MountFlag.RDONLY, False),
    "rw": (MountFlag.RDONLY, True),
    "suid": (MountFlag.NOSUID, True),
    "nosuid": (MountFlag.NOSUID, False),
    "dev": (MountFlag.NODEV, True),
    "nodev": (MountFlag.NODEV, False),
    "exec": (MountFlag.NOEXEC, True),
    "noexec": (MountFlag.NOEXEC, False),
    "sync": (0x10, False),
    "async": (0x10, True),
    "dirsync": (0x80, False),
    "remount": (MountFlag.REMOUNT, False),
    "mand": (0x40, False),
    "nomand": (0x40, True),
    "atime": (MountFlag.NOATIME, True),
    "noatime": (MountFlag.NOATIME, False),
    "diratime": (0x800, True),
    "nodiratime": (0x800, False),
    "bind": (MountFlag.BIND, False),
    "rbind": (MountFlag.BIND | MountFlag.REC, False),
    "unbindable": (MountFlag.UNBINDABLE, False),
    "runbindable": (MountFlag.UNBINDABLE | MountFlag.REC, False),
    "private": (MountFlag.PRIVATE, False),
    "rprivate": (MountFlag.PRIVATE | MountFlag.REC, False),
    "shared": (MountFlag.SHARED, False),
    "rshared": (MountFlag.SHARED | MountFlag.REC, False),
    "slave": (MountFlag.SLAVE, False),
    "rslave": (MountFlag.SLAVE | MountFlag.REC, False),
    "relatime": (MountFlag.RELATIME, False),
    "norelatime": (MountFlag.RELATIME, True),
    "strictatime": (0x1000000, False),
    "nostrictatime": (0x1000000, True),
}
_PROPAGATION = MountFlag.UNBINDABLE | MountFlag.PRIVATE | MountFlag.SHARED | MountFlag.SLAVE
_READ_ONLY_BIND = MountFlag.BIND | MountFlag.RDONLY


def parse_options(text: str) -> tuple[int, str]:
    """Return the flags that `text` names, and the rest of it, which is the file system's own."""
    flags, data = 0, []
    for word in text.split(","):
        flag, clears = _FLAGS.get(word, (None, False))
        if flag is None:
            data.append(word)
        elif clears:
            flags &= ~flag
        else:
            flags |= flag
    return flags, ",".join(word for word in data if word)


def mount_as_told(device: str, target: Path, kind: str, options: str) -> None:
    """Mount `device` at `target`; raise `EngineError` in dockerd's words."""
    flags, data = parse_options(options)
    own = flags & ~_PROPAGATION
    _mount("mount", device, target, kind, own, data)
    try:
        if flags & _PROPAGATION:
            changed = flags & (_PROPAGATION | MountFlag.REC)
            _mount("remount", "", target, "", changed, "")
        if own & _READ_ONLY_BIND == _READ_ONLY_BIND:
            # A bind takes no other flags when it is made.
            _mount("remount-ro", "", target, "", own | MountFlag.REMOUNT, "")
    except EngineError:
        umount(target, UnmountFlag.DETACH)
        raise


def _mount(name: str, device: str, target: Path, kind: str, flags: int, data: str) -> None:
    try:
        mount(device or "none", target, kind, flags, data)
    except (OSError, ValueError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        told = f"{name} {device}:{target}"
        if flags:
            told += f", flags: 0x{flags:x}"
        if data:
            told += f", data: {data}"
        raise EngineError(f"{told}: {reason.lower()}") from error


def unmount_all(target: Path) -> bool:
    """Take away everything that is mounted at `target` itself; return whether anything was.

    Raises OSError where it cannot be done; nothing happens where `target` is not there.
    """
    found = False
    while True:
        try:
            umount(target, UnmountFlag.DETACH | UnmountFlag.NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return found
            raise
        found = True
