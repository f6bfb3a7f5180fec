"""The local driver: a directory for each volume, and what its options mount on it.

Source: dockerd's local volume driver; texts as there. Rule: functions here block and run in
threads; nothing of a volume is removed while anything is mounted on it.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Collection
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.mounting import mount_as_told, parse_options, unmount_all
from dockerapi.local.host.syscalls import MountFlag
from dockerapi.local.layout import Layout
from dockerapi.local.volumes.volume import Volume

_ADDRESS = re.compile(r"(?:^|,)addr=([^,]*)")


def data_of(layout: Layout, name: str) -> Path:
    """Return the directory that a volume's content is in; its `Mountpoint`."""
    return layout.volume(name) / "_data"


def make(layout: Layout, name: str) -> None:
    """Make the directories of a volume where they are missing."""
    layout.volume(name).mkdir(mode=0o701, exist_ok=True)
    data_of(layout, name).mkdir(mode=0o755, exist_ok=True)


def remove_empty(layout: Layout, name: str) -> None:
    """Remove the directories of a volume that was not made after all; one with content stays."""
    with suppress(OSError):
        data_of(layout, name).rmdir()
        layout.volume(name).rmdir()


def sweep(layout: Layout, names: Collection[str]) -> None:
    """Make what directories of `names` are missing, and remove those of others that are empty.

    Others with content are nobody's that this database knows of: they stay.
    """
    for name in names:
        make(layout, name)
    for name in set(os.listdir(layout.volumes)) - set(names):
        with suppress(ValueError):
            remove_empty(layout, name)


def bury(layout: Layout, name: str) -> Path:
    """Take the directories of a volume out of its place; return where they are then.

    What is mounted there is unmounted before. Raises OSError.
    """
    unmount_all(data_of(layout, name))
    grave = layout.tmp / f"gone-{name[:64]}-{secrets.token_hex(8)}"
    try:
        os.rename(layout.volume(name), grave)
    except FileNotFoundError:
        grave.mkdir()
    return grave


def unbury(layout: Layout, name: str, grave: Path) -> None:
    """Undo `bury`."""
    os.rename(grave, layout.volume(name))


def attach(layout: Layout, volume: Volume) -> None:
    """Mount what the options of a volume say on its directory; raise `EngineError`.

    It may wait for a server of files, for minutes.
    """
    data = data_of(layout, volume.name)
    options = volume.options or {}
    # What a server that was killed left there.
    unmount_all(data)
    try:
        _mount(data, options.get("device", ""), options.get("type", ""), options.get("o", ""))
    except EngineError as error:
        raise EngineError(f"error while mounting volume '{data}': {error.message}") from error


def detach(layout: Layout, name: str) -> None:
    """Unmount what `attach` mounted; raises OSError."""
    unmount_all(data_of(layout, name))


def is_read_only(volume: Volume) -> bool:
    """Tell whether the options of a volume have it mounted read-only."""
    flags, _ = parse_options((volume.options or {}).get("o", ""))
    return bool(flags & MountFlag.RDONLY)


def _mount(data: Path, device: str, kind: str, options: str) -> None:
    if not device:
        raise EngineError("missing device in volume options")
    if kind in ("nfs", "cifs"):
        options = _resolved(options)
    try:
        mount_as_told(device, data, kind, options)
    except EngineError as error:
        raise EngineError(f"failed to mount local volume: {error.message}") from error


def _resolved(options: str) -> str:
    """Return `options` with the address of the server that ``addr=`` names.

    The kernel looks up no names.
    """
    found = _ADDRESS.search(options)
    host = found[1] if found is not None else ""
    if found is None or not host or _is_address(host):
        return options
    try:
        (*_, address), *_ = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise EngineError(
            f"error resolving passed in network volume address: lookup {host}: no such host"
        ) from None
    return f"{options[: found.start(1)]}{address[0]}{options[found.end(1) :]}"


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
