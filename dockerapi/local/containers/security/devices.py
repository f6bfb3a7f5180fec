"""Which devices a container may use, and those of the host that it was given.

Source: the OCI runtime specification's ``linux.devices`` and ``linux.resources.devices``; the
defaults are dockerd's. Rule: everything is denied that no rule allows.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.model.containers import Device

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")

#: zero, null, urandom, random, tty and console; fuse is denied though a kernel might give it.
_DEFAULT_RULES: tuple[dict[str, Any], ...] = (
    {"allow": False, "access": "rwm"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
    ),
    {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
)

_ALL_ALLOWED: tuple[dict[str, Any], ...] = ({"allow": True, "access": "rwm"},)


def device_rules(
    devices: Sequence[Mapping[str, Any]], more: Sequence[str], privileged: bool
) -> list[Any]:
    """Return the rules of the device cgroup; `more` are the API's ``DeviceCgroupRules``.

    Raises `InvalidParameter` for a rule that cannot be read.
    """
    if privileged:
        return list(_ALL_ALLOWED)
    rules = [*_DEFAULT_RULES]
    rules += [
        {
            "allow": True,
            "type": device["type"],
            "major": device["major"],
            "minor": device["minor"],
            "access": device["access"],
        }
        for device in devices
    ]
    return rules + [_rule(text) for text in more]


def _rule(text: str) -> dict[str, Any]:
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")
    rule: dict[str, Any] = {"allow": True, "type": match[1], "access": match[4]}
    for name, number in (("major", match[2]), ("minor", match[3])):
        # What is left out stands for all; crun knows no -1.
        if number != "*":
            rule[name] = int(number)
    return rule


def host_devices(devices: Sequence[Device]) -> list[dict[str, Any]]:
    """Return the OCI devices (with their ``access`` besides) for what `devices` ask for.

    A directory gives every device beneath it. Raises `EngineError` in dockerd's words where there
    is no such device. Blocks for a system call each.
    """
    found = []
    for device in devices:
        inside = device.path_in_container or device.path_on_host
        access = device.cgroup_permissions or "rwm"
        if os.path.isdir(device.path_on_host):
            nodes = [
                node
                for folder, _, names in os.walk(device.path_on_host)
                for name in names
                if (
                    node := _node(
                        f"{folder}/{name}",
                        inside + f"{folder}/{name}".removeprefix(device.path_on_host),
                        access,
                    )
                )
                is not None
            ]
            if not nodes:
                raise EngineError(_no_device(device, "not a device node"))
            found += nodes
            continue
        node = _node(device.path_on_host, inside, access)
        if node is None:
            there = os.path.exists(device.path_on_host)
            reason = "not a device node" if there else "no such file or directory"
            raise EngineError(_no_device(device, reason))
        found.append(node)
    return found


def all_devices() -> list[dict[str, Any]]:
    """Return every device of the host, for privileged containers, as `host_devices` does."""
    skipped = {"pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"}
    found = []
    for folder, folders, names in os.walk("/dev"):
        folders[:] = [name for name in folders if name not in skipped]
        for name in names:
            path = f"{folder}/{name}"
            if name not in skipped and not os.path.islink(path):
                node = _node(path, path, "rwm")
                if node is not None:
                    found.append(node)
    return found


def _node(path: str, inside: str, access: str) -> dict[str, Any] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return {
        "path": inside,
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
        "access": access,
    }


def _no_device(device: Device, reason: str) -> str:
    path = device.path_on_host
    return f'error gathering device information while adding custom device "{path}": {reason}'
