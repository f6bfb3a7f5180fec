"""What devices change in a container's configuration for the runtime.

Source: ``containerEdits`` of the Container Device Interface; texts of refusals as dockerd's. Rule:
what all devices of one description share is done once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.cdi.specs import Device, DeviceNode, Edits, load_devices
from dockerapi.model.containers import DeviceRequest

_DRIVER = "cdi"
_MOUNT_OPTIONS = ["rbind", "rprivate", "nosuid", "nodev"]


def check_requests(requests: Sequence[DeviceRequest]) -> None:
    """Raise `EngineError` for requests to drivers that there are not here."""
    for one in requests:
        if one.driver != _DRIVER:
            capabilities = " ".join(f"[{' '.join(words)}]" for words in one.capabilities or ())
            raise EngineError(
                f'could not select device driver "{one.driver}" with capabilities: [{capabilities}]'
            )
        if one.options:
            raise InvalidParameter("CDI device requests do not support options")


def give_devices(spec: dict[str, Any], requests: Sequence[DeviceRequest]) -> None:
    """Change the runtime's configuration `spec` for the devices of `requests`.

    Blocks for small files. Raises `EngineError` for devices that there are not.
    """
    check_requests(requests)
    wanted = [name for one in requests for name in one.device_ids or ()]
    if not wanted:
        return
    known = load_devices()
    missing = [name for name in wanted if name not in known]
    if missing:
        raise EngineError(
            f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}"
        )
    for edits in _in_order(known, wanted):
        _apply(spec, edits)


def _in_order(known: Mapping[str, Device], wanted: Iterable[str]) -> Iterable[Edits]:
    shared = set()
    for name in dict.fromkeys(wanted):
        device = known[name]
        common, own = device.edits
        if device.spec not in shared:
            shared.add(device.spec)
            yield common
        yield own


def _apply(spec: dict[str, Any], edits: Edits) -> None:
    process, linux = spec["process"], spec["linux"]
    names = {entry.partition("=")[0] for entry in edits.env}
    kept = [entry for entry in process["env"] if entry.partition("=")[0] not in names]
    process["env"] = [*kept, *edits.env]
    process["user"]["additionalGids"] += edits.additional_gids
    for node in edits.device_nodes:
        device, access = _device(node)
        linux["devices"].append(device)
        rule: dict[str, Any] = {"allow": True, "access": access}
        rule |= {name: device[name] for name in ("type", "major", "minor") if name in device}
        linux["resources"]["devices"].append(rule)
    spec["mounts"] += [
        {
            "source": one.host_path,
            "destination": one.container_path,
            "type": one.type or "bind",
            "options": one.options or _MOUNT_OPTIONS,
        }
        for one in edits.mounts
    ]
    for hook in edits.hooks:
        entry = {"path": hook.path, "args": hook.args, "env": hook.env, "timeout": hook.timeout}
        given = {name: value for name, value in entry.items() if value is not None}
        spec.setdefault("hooks", {}).setdefault(hook.hook_name, []).append(given)


def _device(node: DeviceNode) -> tuple[dict[str, Any], str]:
    """Return the OCI device of `node`, completed from the host's, and what may be done with it."""
    device: dict[str, Any] = {"path": node.path}
    if not node.type or node.major is None or node.minor is None:
        device |= _numbers(node.host_path or node.path)
    given = {"type": node.type, "major": node.major, "minor": node.minor, "uid": node.uid}
    given |= {"gid": node.gid, "fileMode": node.file_mode}
    device |= {name: value for name, value in given.items() if value not in (None, "")}
    return device, node.permissions or "rwm"


def _numbers(path: str) -> dict[str, Any]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise EngineError(
            f"CDI device injection failed: stat {path}: {(error.strerror or '').lower()}"
        ) from None
    kind = "b" if stat.S_ISBLK(status.st_mode) else "c"
    return {
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
    }
