"""What overlayfs keeps of changes in the directory that takes them, and what is none of a user's.

Source: the kernel's overlayfs.rst, "whiteouts and opaque directories".
"""

from __future__ import annotations

import os
import stat

_OPAQUE = "trusted.overlay.opaque"
#: With these, names lead elsewhere: what is in the directory cannot be told from it alone.
_ELSEWHERE = ("trusted.overlay.redirect", "trusted.overlay.metacopy")
#: What a start makes in every container's root to mount over; in dockerd it is no change either.
_MADE_BY_START = frozenset(
    (
        *(b"dev", b"dev/console", b"dev/mqueue", b"dev/pts", b"dev/shm", b"proc", b"sys", b"etc"),
        *(b".dockerenv", b"etc/hostname", b"etc/hosts", b"etc/mtab", b"etc/resolv.conf"),
    )
)


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether a file says that there is none of its name."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_made_by_start(path: bytes, status: os.stat_result) -> bool:
    """Tell whether a file that no image has was made for the start of a container alone."""
    if path not in _MADE_BY_START:
        return False
    return stat.S_ISDIR(status.st_mode) or (stat.S_ISREG(status.st_mode) and not status.st_size)


def is_opaque(directory: int | bytes) -> bool:
    """Tell whether a directory hides what is below it; it is open, or a path that can be trusted.

    Raises OSError where the answer cannot be told from this layer alone.
    """
    names = os.listxattr(directory)
    for name in _ELSEWHERE:
        if name in names:
            raise OSError(f"a directory with {name} cannot be told apart from others")
    return _OPAQUE in names and os.getxattr(directory, _OPAQUE) == b"y"


def set_opaque(directory: int) -> None:
    """Let an open directory hide what is below it."""
    os.setxattr(directory, _OPAQUE, b"y")
