"""What is mounted where, as /proc/self/mountinfo tells.

Source: proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re

import msgspec

_SPECIAL = re.compile(rb"[ \t\n\\]")
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mounted(msgspec.Struct, frozen=True):
    """A mount.

    :ivar point: where it is.
    :ivar shared: whether it shares its mounts with others, and `slave` whether it receives theirs.
    """

    point: str
    shared: bool = False
    slave: bool = False


def parse_line(line: bytes) -> Mounted:
    """Read a line of mountinfo."""
    fields = line.split()
    point = _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
    optional = fields[6 : fields.index(b"-", 6)]
    return Mounted(
        os.fsdecode(point),
        any(field.startswith(b"shared:") for field in optional),
        any(field.startswith(b"master:") for field in optional),
    )


def has_mounts(path: str) -> bool:
    """Tell whether `path` lies on another mount than the root, or has any inside it; blocks."""
    real = os.path.realpath(path)
    if mount_of(real).point != "/":
        return True
    with open("/proc/self/mountinfo", "rb") as file:
        # Spaces and the like are written as escapes.
        return b" " + _escaped(real.rstrip("/")) + b"/" in file.read()


def _escaped(path: str) -> bytes:
    return _SPECIAL.sub(lambda match: b"\\%03o" % match[0][0], os.fsencode(path))


def mount_of(path: str) -> Mounted:
    """Return the mount that `path` lies on, with its links resolved; blocks."""
    real = os.path.realpath(path)
    found = Mounted("/")
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            mounted = parse_line(line)
            inside = real == mounted.point or real.startswith(mounted.point.rstrip("/") + "/")
            # Of several at one place the last is what is seen.
            if inside and len(mounted.point) >= len(found.point):
                found = mounted
    return found
