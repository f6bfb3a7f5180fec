"""What a container has mounted: which mounts a request asks for.

Source: `Binds`, `Mounts` and `Tmpfs` of the specification's HostConfig; texts as dockerd's.
Rule: parsing touches no disk; what depends on the host is checked by `check_sources`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.mounts.point import (
    BIND,
    IMAGE,
    PROPAGATIONS,
    TMPFS,
    VOLUME,
    MountPoint,
)
from dockerapi.local.containers.mounts.rules import check_mode, check_mount, check_target, clean
from dockerapi.local.containers.mounts.tmpfs import as_text, tmpfs_options
from dockerapi.local.volumes.catalogue import Wanted
from dockerapi.model.containers import BindOptions, DriverConfig, HostConfig, Mount, VolumeOptions
from dockerapi.model.versions import NEWEST, Version

#: From here on options of other kinds of mounts are refused, and read-only mounts are so with what
#: lies inside them.
_STRICT = Version(1, 42)
_RECURSIVE = Version(1, 44)


class Request(msgspec.Struct, frozen=True):
    """A mount that is asked for, and of a volume, what it is to be."""

    point: MountPoint
    volume: Wanted = msgspec.field(default_factory=Wanted)


def parse_mounts(host: HostConfig, version: Version = NEWEST) -> list[Request]:
    """Read the mounts that `host` asks for; those of ``Tmpfs`` come last.

    Raises `InvalidParameter` (or `EngineError`, where dockerd answers so) for what is malformed.
    """
    found: dict[str, Request] = {}
    for text in host.binds or ():
        request = _bind(text, host.volume_driver, recursive=version >= _RECURSIVE)
        if request.point.destination in {*found, *map(clean, host.tmpfs or ())}:
            raise _duplicate(request.point)
        found[request.point.destination] = request
    for mount in host.mounts or ():
        request = _mount(mount, version)
        if request.point.destination in found:
            raise _duplicate(request.point)
        found[request.point.destination] = request
    for destination, options in (host.tmpfs or {}).items():
        check_target(destination)
        point = MountPoint(
            type=TMPFS,
            destination=clean(destination),
            options=tmpfs_options(options),
            mode=options,
            listed=False,
        )
        found.setdefault(point.destination, Request(point))
    return list(found.values())


def check_sources(host: HostConfig) -> None:
    """Raise `InvalidParameter` where a bind among ``Mounts`` has no source on this host.

    Blocks for a system call each.
    """
    for mount in host.mounts or ():
        create = mount.bind_options is not None and mount.bind_options.create_mountpoint
        if mount.type == "bind" and not create and not os.path.exists(mount.source):
            raise _missing(mount.source)


def make_sources(points: Iterable[MountPoint]) -> None:
    """Make the missing sources of binds, as dockerd does; raise `InvalidParameter`, `EngineError`.

    Blocks for a system call each.
    """
    for point in points:
        if point.type == BIND and not os.path.exists(point.source):
            if not point.create:
                raise _missing(point.source)
            try:
                os.makedirs(point.source, mode=0o755, exist_ok=True)
            except OSError as error:
                raise EngineError(
                    f"error while creating mount source path '{point.source}': "
                    f"mkdir {error.filename}: {(error.strerror or '').lower()}"
                ) from None


def _missing(source: str) -> InvalidParameter:
    return InvalidParameter(
        f'invalid mount config for type "bind": bind source path does not exist: {source}'
    )


def _duplicate(point: MountPoint) -> InvalidParameter:
    return InvalidParameter(f"Duplicate mount point: {point.destination}")


def _bind(text: str, driver: str, *, recursive: bool) -> Request:
    """Read one of ``Binds``: a path of the host, a volume's name, or neither, before the rest."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts[:2]):
        raise EngineError(f"invalid volume specification: '{text}'")
    if len(parts) == 1:
        point = MountPoint(
            type=VOLUME,
            destination=_destination(text, text, VOLUME),
            mode="z",
            options=("rbind",),
            copy=True,
            anonymous=True,
        )
        return Request(point, Wanted(driver=driver))
    source, path, mode = (*parts, "")[:3]
    words = check_mode(mode)
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    read_only = "ro" in words
    if not source.startswith("/"):
        if propagation:
            raise _misplaced(text, VOLUME, "BindOptions")
        point = MountPoint(
            type=VOLUME,
            destination=_destination(path, text, VOLUME),
            read_only=read_only,
            mode=mode or "z",
            options=("rbind",),
            copy="nocopy" not in words,
        )
        return Request(point, Wanted(source, driver))
    if "nocopy" in words:
        raise _misplaced(text, BIND, "VolumeOptions")
    point = MountPoint(
        type=BIND,
        source=clean(source),
        destination=_destination(path, text, BIND),
        read_only=read_only,
        mode=mode,
        propagation=propagation,
        options=("rbind",),
        recursive="able" if read_only and recursive else "",
        create=True,
    )
    return Request(point)


def _misplaced(text: str, kind: str, field: str) -> EngineError:
    return EngineError(
        f"invalid volume specification: '{text}': invalid mount config for type \"{kind}\": "
        f"field {field} must not be specified"
    )


def _destination(path: str, text: str, kind: str) -> str:
    """Return the clean form of a path in the container; raise an error that tells `text`."""
    try:
        check_target(path)
    except InvalidParameter as error:
        raise EngineError(
            f"invalid volume specification: '{text}': "
            f'invalid mount config for type "{kind}": {error.message}'
        ) from None
    return clean(path)


def _mount(mount: Mount, version: Version) -> Request:
    """Read one of ``Mounts``."""
    check_mount(mount, strict=version >= _STRICT)
    destination = clean(mount.target)
    if mount.type == BIND:
        return Request(_bind_of(mount, destination, version))
    if mount.type == VOLUME:
        return _volume_of(mount, destination)
    if mount.type == IMAGE:
        subpath = mount.image_options.subpath if mount.image_options is not None else ""
        return Request(
            MountPoint(
                type=IMAGE,
                name=mount.source,
                destination=destination,
                read_only=True,
                options=("rbind",),
                subpath=subpath,
            )
        )
    return Request(
        MountPoint(
            type=TMPFS,
            destination=destination,
            read_only=mount.read_only,
            options=tmpfs_options(as_text(mount.tmpfs_options)),
        )
    )


def _bind_of(mount: Mount, destination: str, version: Version) -> MountPoint:
    options = mount.bind_options or BindOptions()
    recursive = "able" if version >= _RECURSIVE and mount.read_only else ""
    if options.read_only_non_recursive or options.non_recursive:
        recursive = ""
    elif options.read_only_force_recursive and recursive:
        recursive = "forced"
    return MountPoint(
        type=BIND,
        source=clean(mount.source),
        destination=destination,
        read_only=mount.read_only,
        propagation=options.propagation,
        options=("bind" if options.non_recursive else "rbind",),
        recursive=recursive,
        create=options.create_mountpoint,
    )


def _volume_of(mount: Mount, destination: str) -> Request:
    options = mount.volume_options or VolumeOptions()
    driver = options.driver_config or DriverConfig()
    point = MountPoint(
        type=VOLUME,
        destination=destination,
        read_only=mount.read_only,
        mode="z",
        options=("rbind",),
        copy=not options.no_copy,
        subpath=options.subpath,
        anonymous=not mount.source,
    )
    return Request(point, Wanted(mount.source, driver.name, driver.options, options.labels))
