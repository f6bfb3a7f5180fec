"""The descriptions that vendors left on this host, and the devices in them.

Source: the Container Device Interface specification. Rule: a description that cannot be read is
passed over and told; of two of a device the one in the later directory counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field
from twisted.logger import Logger

#: Where descriptions are, those of the system before those made at run time.
DIRECTORIES = (Path("/etc/cdi"), Path("/var/run/cdi"))
#: How large a description may be, in bytes.
_LIMIT = 1024 * 1024

_log = Logger()


class DeviceNode(Struct, rename="camel"):
    """A device node in a container; what is unset is as on the host."""

    path: str
    host_path: str = ""
    type: str = ""
    major: int | None = None
    minor: int | None = None
    file_mode: int | None = None
    permissions: str = ""
    uid: int | None = None
    gid: int | None = None


class CdiMount(Struct, rename="camel"):
    """A mount of the host's."""

    host_path: str
    container_path: str
    type: str = ""
    options: list[str] | None = None


class Hook(Struct, rename="camel"):
    """A program of the host, run at one of the runtime's moments."""

    hook_name: str
    path: str
    args: list[str] | None = None
    env: list[str] | None = None
    timeout: int | None = None


class Edits(Struct, rename="camel"):
    """What a device changes in a container."""

    env: list[str] = field(default_factory=list)
    device_nodes: list[DeviceNode] = field(default_factory=list)
    mounts: list[CdiMount] = field(default_factory=list)
    hooks: list[Hook] = field(default_factory=list)
    additional_gids: list[int] = field(default_factory=list, name="additionalGids")


class _Device(Struct, rename="camel"):
    name: str
    container_edits: Edits = field(default_factory=Edits)


class _Spec(Struct, rename="camel"):
    cdi_version: str
    kind: str
    devices: list[_Device]
    container_edits: Edits = field(default_factory=Edits)


class Device(msgspec.Struct, frozen=True):
    """A device by its full name, as in ``vendor.com/class=name``.

    :ivar edits: those of all devices of its description, then its own.
    """

    name: str
    spec: Path
    edits: tuple[Edits, Edits]


def load_devices(directories: Iterable[Path] = DIRECTORIES) -> dict[str, Device]:
    """Return the devices of this host by name; blocks for small files."""
    found: dict[str, Device] = {}
    for directory in directories:
        if not directory.is_dir():
            continue
        for path in sorted(directory.iterdir()):
            if path.suffix in (".json", ".yaml", ".yml"):
                found |= {device.name: device for device in _read(path)}
    return found


def _read(path: Path) -> list[Device]:
    try:
        with path.open("rb") as file:
            text = file.read(_LIMIT)
        raw: Any = _load_yaml(text) if path.suffix != ".json" else msgspec.json.decode(text)
        spec = msgspec.convert(raw, _Spec)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        _log.warn("the devices of {path} are not known: {error}", path=str(path), error=str(error))
        return []
    return [
        Device(f"{spec.kind}={one.name}", path, (spec.container_edits, one.container_edits))
        for one in spec.devices
    ]


def _load_yaml(text: bytes) -> Any:
    """Return what a document holds; raises ValueError."""
    # Here, since few hosts have such a description, and every server would pay 0.7 MB.
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
