"""How much a container may read from and write to devices.

Source: the `Blkio*` members of `Resources`; ``linux.resources.blockIO`` of the OCI runtime
specification; texts as dockerd's. Rule: a device is looked up when its container starts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from typing import Any

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.model.containers import HostConfig, ThrottleDevice, WeightDevice

_LEAST_WEIGHT, _MOST_WEIGHT = 10, 1000
#: Members of HostConfig, and what the runtimes call them.
_THROTTLES = {
    "blkio_device_read_bps": "throttleReadBpsDevice",
    "blkio_device_write_bps": "throttleWriteBpsDevice",
    "blkio_device_read_iops": "throttleReadIOPSDevice",
    "blkio_device_write_iops": "throttleWriteIOPSDevice",
}
_NO_WEIGHT = (
    "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
)
_NO_WEIGHTS = (
    "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
    "Weight-device discarded."
)


def check_blocks(host: HostConfig) -> None:
    """Raise `InvalidParameter` for weights and rates that there are not."""
    weights = (host.blkio_weight, *(one.weight for one in host.blkio_weight_device or ()))
    for weight in weights:
        if weight and not _LEAST_WEIGHT <= weight <= _MOST_WEIGHT:
            raise InvalidParameter(
                f"Range of blkio weight is from {_LEAST_WEIGHT} to {_MOST_WEIGHT}"
            )
    for name in _THROTTLES:
        for throttle in getattr(host, name) or ():
            if throttle.rate < 0:
                raise InvalidParameter(
                    f"invalid JSON: json: cannot unmarshal number {throttle.rate} into "
                    "Go struct field .Rate of type uint64"
                )


def unsupported_weights(host: HostConfig) -> tuple[dict[str, Any], list[str]]:
    """Return what of `host` a kernel without weights cannot do, unset, and the warnings."""
    changes: dict[str, Any] = {}
    warnings = []
    if host.blkio_weight:
        changes["blkio_weight"] = 0
        warnings.append(_NO_WEIGHT)
    if host.blkio_weight_device:
        changes["blkio_weight_device"] = []
        warnings.append(_NO_WEIGHTS)
    return changes, warnings


def block_spec(host: HostConfig) -> dict[str, Any]:
    """Return ``blockIO``; empty for no limits.

    Blocks for a look at each device. Raises `EngineError` for one that there is not.
    """
    found: dict[str, Any] = {}
    if host.blkio_weight:
        found["weight"] = host.blkio_weight
    if host.blkio_weight_device:
        found["weightDevice"] = _devices(
            host.blkio_weight_device, lambda one: {"weight": one.weight}
        )
    for name, title in _THROTTLES.items():
        throttles: list[ThrottleDevice] = getattr(host, name) or []
        if throttles:
            found[title] = _devices(throttles, lambda one: {"rate": one.rate})
    return found


def _devices(
    wanted: Iterable[Any], limits: Callable[[Any], dict[str, int]]
) -> list[dict[str, int]]:
    return [{**_numbers(one), **limits(one)} for one in wanted]


def _numbers(device: WeightDevice | ThrottleDevice) -> dict[str, int]:
    """Return the numbers of a device of the host."""
    try:
        status = os.stat(device.path)
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else error
        raise EngineError(f"stat {device.path}: {reason}") from None
    number = status.st_rdev if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode) else 0
    return {"major": os.major(number), "minor": os.minor(number)}
