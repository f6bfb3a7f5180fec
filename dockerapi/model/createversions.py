"""What ContainerCreate and ContainerUpdate do not know at some versions of the API.

Source: the specification's history of versions. Rule: what a version does not know is ignored, as
any member that no version knows; a client that says nothing gets the default of its version.
"""

from __future__ import annotations

from collections.abc import Iterator

from dockerapi.model.containers import BindOptions, CreateBody, HostConfig, Mount
from dockerapi.model.versions import Version

_AUTO_REMOVE = Version(1, 25)
_PRIVATE_IPC = _NON_RECURSIVE = _PIDS_UPDATED = Version(1, 40)
#: From here on an image for one platform can be asked for.
PLATFORM = Version(1, 41)
_CREATE_MOUNTPOINT = Version(1, 42)
_ANNOTATIONS = Version(1, 43)
_START_INTERVAL = Version(1, 44)
_SUBPATH = Version(1, 45)
_TMPFS_OPTIONS = Version(1, 46)
#: A container's own MAC address is warned of from the first on, and not known from the second on.
_MAC_OF_ENDPOINTS = Version(1, 44)
_NO_MAC = Version(1, 52)


def limit_create(body: CreateBody, version: Version) -> None:
    """Take out of `body` what `version` does not know, or not any more."""
    if version >= _NO_MAC:
        body.mac_address = ""
    if body.healthcheck is not None and version < _START_INTERVAL:
        body.healthcheck.start_interval = 0
    host = body.host_config
    if host is None:
        return
    if version < _AUTO_REMOVE:
        host.auto_remove = False
    if version < _PRIVATE_IPC:
        host.ipc_mode = host.ipc_mode or "shareable"
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


def _limit_mount(mount: Mount, version: Version) -> None:
    if mount.bind_options is not None:
        _limit_bind(mount.bind_options, version)
    if mount.volume_options is not None and version < _SUBPATH:
        mount.volume_options.subpath = ""
    if mount.tmpfs_options is not None and version < _TMPFS_OPTIONS:
        mount.tmpfs_options.options = None


def _limit_bind(options: BindOptions, version: Version) -> None:
    if version < _NON_RECURSIVE:
        options.non_recursive = False
    if version < _CREATE_MOUNTPOINT:
        options.create_mountpoint = False


def limit_update(changes: HostConfig, version: Version) -> None:
    """Take out of `changes` what `version` does not know."""
    if version < _PIDS_UPDATED:
        changes.pids_limit = None
