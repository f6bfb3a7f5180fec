"""Whether mounts on the host reach a bind of it, and mounts inside the bind the host.

Source: mount_namespaces(7); dockerd's rules and texts. Rule: functions here read /proc and block.
"""

from __future__ import annotations

import os

from msgspec import structs

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.mounts.point import BIND, MountPoint
from dockerapi.local.host.mountinfo import mount_of

#: What is mounted beneath the data root is to go away in containers, too, when it is unmounted.
_RECEIVING = ("rslave", "rshared")


def with_default(point: MountPoint, data_root: str) -> MountPoint:
    """Return a bind with the propagation that it has where a client said nothing.

    Raises `InvalidParameter` for a wrong one of a bind that holds the data root, or is in it.
    """
    if point.type != BIND:
        return point
    if not overlap(point.source, data_root):
        return structs.replace(point, propagation=point.propagation or "rprivate")
    if point.propagation and point.propagation not in _RECEIVING:
        raise InvalidParameter(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when '
            f'mount source is within the daemon root, daemon root: "{data_root}", bind mount '
            f'source: "{point.source}", propagation: "{point.propagation}"'
        )
    return structs.replace(point, propagation=point.propagation or "rslave")


def checked(point: MountPoint, data_root: str) -> MountPoint:
    """Return a bind with the propagation that the host's mounts allow.

    Raises `EngineError` where they do not allow the one that a client asked for.
    """
    kind = point.propagation.removeprefix("r")
    if point.type != BIND or kind not in ("shared", "slave"):
        return point
    mounted = mount_of(point.source)
    if mounted.shared or (kind == "slave" and mounted.slave):
        return point
    if kind == "slave" and overlap(point.source, data_root):
        # Nobody asked for it.
        return structs.replace(point, propagation="rprivate")
    wanted = "shared" if kind == "shared" else "shared or slave"
    raise EngineError(
        f"path {point.source} is mounted on {mounted.point} but it is not a {wanted} mount"
    )


def overlap(one: str, other: str) -> bool:
    """Tell whether one of two clean paths is the other, or in it."""
    return os.path.commonpath((one, other)) in (one, other)
