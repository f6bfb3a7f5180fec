"""What ContainerCreate and ContainerUpdate do not know at some versions of the API.

Source: the specification's history of versions. Rule: what a version does not know is ignored, as
any member that no version knows, unless something else would be mounted then; a client that says
nothing gets the default of its version.
"""

from __future__ import annotations

from collections.abc import Iterator

from dockerapi.model.containers import BindOptions, CreateBody, HostConfig, Mount
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import Version

_AUTO_REMOVE = Version(1, 25)
_PRIVATE_IPC = _NON_RECURSIVE = _PIDS_UPDATED = Version(1, 40)
#: From here on an image for one platform can be asked for.
PLATFORM = Version(1, 41)
_CREATE_MOUNTPOINT = _CONSOLE_SIZE = Version(1, 42)
_ANNOTATIONS = Version(1, 43)
_START_INTERVAL = _RECURSIVE = Version(1, 44)
_SUBPATH = Version(1, 45)
_TMPFS_OPTIONS = Version(1, 46)
_IMAGES = _DRIVER_WARNED = Version(1, 48)
#: A container's own MAC address is warned of from the first on, and not known from the second on.
_MAC_OF_ENDPOINTS = Version(1, 44)
_NO_MAC = Version(1, 52)


def limit_create(body: CreateBody, version: Version) -> None:
    """Take out of `body` what `version` does not know, or not any more.

    Raises `Malformed` for mounts that it does not know.
    """
    if version >= _NO_MAC:
        body.mac_address = ""
    if body.healthcheck is not None and version < _START_INTERVAL:
        body.healthcheck.start_interval = 0
    if body.host_config is None:
        body.host_config = HostConfig()
    host = body.host_config
    if version < _AUTO_REMOVE:
        host.auto_remove = False
    if version < _PRIVATE_IPC:
        host.ipc_mode = host.ipc_mode or "shareable"
    if version < _CONSOLE_SIZE:
        host.console_size = [0, 0]
    if version < _ANNOTATIONS:
        host.annotations = None
    for mount in host.mounts or ():
        _limit_mount(mount, version)


def version_warnings(body: CreateBody, version: Version) -> Iterator[str]:
    """Give the warnings of what will not be known at a later version."""
    if body.mac_address and version >= _MAC_OF_ENDPOINTS:
        yield (
            "The container-wide MacAddress field is now deprecated. "
            "It should be specified in EndpointsConfig instead."
        )
    host = body.host_config or HostConfig()
    if (
        host.volume_driver
        and version >= _DRIVER_WARNED
        and any(map(_names_no_driver, host.mounts or ()))
    ):
        yield (
            "WARNING: the container-wide volume-driver configuration is ignored for volumes "
            "specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead"
        )


def _names_no_driver(mount: Mount) -> bool:
    options = mount.volume_options
    driver = options.driver_config if options is not None else None
    return mount.type == "volume" and not (driver is not None and driver.name)


def _limit_mount(mount: Mount, version: Version) -> None:
    if mount.bind_options is not None:
        _limit_bind(mount.bind_options, version)
    if mount.type == "image" and version < _IMAGES:
        raise Malformed('Mount type "Image" needs API v1.48 or newer')
    options = mount.volume_options
    if options is not None and options.subpath and version < _SUBPATH:
        raise Malformed("VolumeOptions.Subpath needs API v1.45 or newer")
    if mount.tmpfs_options is not None and version < _TMPFS_OPTIONS:
        mount.tmpfs_options.options = None


def _limit_bind(options: BindOptions, version: Version) -> None:
    if version < _NON_RECURSIVE:
        options.non_recursive = False
    if version < _CREATE_MOUNTPOINT:
        options.create_mountpoint = False
    if options.read_only_force_recursive and version < _RECURSIVE:
        raise Malformed("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")


def limit_update(changes: HostConfig, version: Version) -> None:
    """Take out of `changes` what `version` does not know."""
    if version < _PIDS_UPDATED:
        changes.pids_limit = None
