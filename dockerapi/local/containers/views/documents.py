"""What the API tells of a container: ContainerInspect's document and ContainerList's rows.

Source: `ContainerInspectResponse` and `ContainerSummary` of the specification. Rule: everything is
answered from memory; only sizes are looked up.
"""

from __future__ import annotations

import time
from typing import Any

from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.runtime.joining import joined_reference
from dockerapi.local.containers.runtime.rootfs import Directories
from dockerapi.local.containers.security.apparmor import shown_profile
from dockerapi.local.containers.views.ports import port_map, port_rows
from dockerapi.local.networks.sandbox import Endpoint
from dockerapi.model.containers import (
    ContainerConfig,
    EndpointSettings,
    HostConfig,
    to_api,
)
from dockerapi.model.timestamps import NANOSECONDS, rfc3339

#: Go's zero time.
NEVER = "0001-01-01T00:00:00Z"
_OMITTED_CONFIG = (
    *("ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout", "Shell", "OnBuild"),
    *("NetworkDisabled", "MacAddress"),
)
_OMITTED_HOST = ("Annotations", "StorageOpt", "Tmpfs", "Sysctls", "Mounts", "Init")


def inspect_document(container: Container, directories: Directories, lower: str) -> dict[str, Any]:
    """Return ContainerInspect's answer; `lower` names the image's layers, topmost first."""
    files = _network_files(container, directories)
    made = _was_prepared(container)
    return {
        "Id": container.id,
        "Created": rfc3339(container.created_at),
        "Path": container.path,
        "Args": container.arguments,
        "State": state_document(container),
        "Image": container.image,
        "ResolvConfPath": str(files.resolv_conf) if made else "",
        "HostnamePath": str(files.hostname) if made else "",
        "HostsPath": str(files.hosts) if made else "",
        "LogPath": _log_path(container, directories),
        "Name": f"/{container.name}",
        "RestartCount": container.state.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": shown_profile(container.host_config, started=made),
        "ExecIDs": list(container.exec_ids) or None,
        "HostConfig": host_document(container.host_config),
        "GraphDriver": {
            "Data": {
                "ID": container.id,
                "LowerDir": lower,
                "MergedDir": str(directories.merged),
                "UpperDir": str(directories.upper),
                "WorkDir": str(directories.work),
            },
            "Name": "overlay2",
        },
        "Mounts": [point.to_api() for point in container.mounts if point.listed],
        "Config": config_document(container.config),
        "NetworkSettings": network_document(container),
    }


def _log_path(container: Container, directories: Directories) -> str:
    """Return the log's path, which dockerd tells of json-file alone, and from the first start."""
    if container.host_config.log_config.type != "json-file" or not _was_prepared(container):
        return ""
    return str(directories.log)


def _was_prepared(container: Container) -> bool:
    """Tell whether a start was tried, be it in vain: that makes the files that inspect names."""
    state = container.state
    return bool(state.started_at or state.active or state.error or state.exit_code)


def _network_files(container: Container, directories: Directories) -> Directories:
    """Return where hosts, hostname and resolv.conf are: those of a container that it joined."""
    joined = joined_reference(container.host_config.network_mode)
    return directories if joined is None else directories.of_other(joined)


def state_document(container: Container) -> dict[str, Any]:
    """Return the specification's `ContainerState`."""
    state = container.state
    health = container.health
    return {
        "Status": container.status.value,
        "Running": state.active,
        "Paused": state.status is Status.PAUSED,
        "Restarting": state.status is Status.RESTARTING,
        "OOMKilled": state.oom_killed,
        "Dead": state.status is Status.DEAD,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": _time(state.started_at),
        "FinishedAt": _time(state.finished_at),
        **({"Health": health.document()} if health is not None else {}),
    }


def _time(nanoseconds: int) -> str:
    return rfc3339(nanoseconds) if nanoseconds else NEVER


def config_document(config: ContainerConfig) -> dict[str, Any]:
    """Return the specification's `ContainerConfig`, without what dockerd leaves out."""
    document = _without_empty(to_api(config), _OMITTED_CONFIG)
    if config.stop_timeout is not None:
        # 0 is no default: it says not to wait.
        document["StopTimeout"] = config.stop_timeout
    if config.healthcheck is not None:
        health = document["Healthcheck"]
        document["Healthcheck"] = {name: value for name, value in health.items() if value}
    return document


def host_document(host: HostConfig) -> dict[str, Any]:
    """Return the specification's `HostConfig`, without what dockerd leaves out."""
    document = _without_empty(to_api(host), _OMITTED_HOST)
    if host.mounts:
        document["Mounts"] = [_compact(mount) for mount in document["Mounts"]]
    return document


def _compact(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` without what is empty; objects that were given stay, were they empty."""
    return {
        name: _compact(item) if isinstance(item, dict) else item
        for name, item in value.items()
        if item or isinstance(item, dict)
    }


def _without_empty(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: value
        for name, value in document.items()
        # A false `Init` is something that was said.
        if name not in names or value or (name == "Init" and value is not None)
    }


def network_document(container: Container) -> dict[str, Any]:
    """Return the specification's `NetworkSettings`."""
    sandbox = container.sandbox
    return {
        "SandboxID": sandbox.id if sandbox is not None else "",
        "SandboxKey": str(sandbox.path) if sandbox is not None and sandbox.path else "",
        "Ports": port_map(container),
        "Networks": networks_document(container),
    }


def networks_document(container: Container) -> dict[str, Any]:
    """Return the specification's `EndpointSettings` by network; empty ones while it is down."""
    sandbox, wanted = container.sandbox, container.endpoints
    if container.config.network_disabled:
        return {}
    if sandbox is not None:
        return {
            endpoint.network: _endpoint(
                endpoint, wanted.get(endpoint.network) or wanted.get(endpoint.network_id)
            )
            for endpoint in sandbox.endpoints
        }
    mode = container.host_config.network_mode
    if mode.startswith("container:"):
        return {}
    # A MAC address that is wanted is told until the container first has one.
    mac = container.config.mac_address if not container.network_id else ""
    return {
        name: _endpoint(
            Endpoint(name, container.network_id, "", container.name, mac=mac), wanted.get(name)
        )
        for name in wanted or (mode,)
    }


def _endpoint(endpoint: Endpoint, wanted: EndpointSettings | None) -> dict[str, Any]:
    wanted = wanted or EndpointSettings()
    addresses = wanted.ipam_config
    return {
        "IPAMConfig": _compact(to_api(addresses)) if addresses is not None else None,
        "Links": wanted.links,
        "Aliases": wanted.aliases,
        "DriverOpts": wanted.driver_opts,
        "GwPriority": wanted.gw_priority,
        "NetworkID": endpoint.network_id,
        "EndpointID": endpoint.id,
        "Gateway": endpoint.gateway,
        "IPAddress": endpoint.ip,
        "MacAddress": endpoint.mac,
        "IPPrefixLen": endpoint.prefix_length,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def summary(container: Container, now: float) -> dict[str, Any]:
    """Return a row of ContainerList at the time `now` (seconds since 1970)."""
    health = container.health
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.config.image,
        "ImageID": container.image,
        "Command": _command(container),
        "Created": container.created_at // NANOSECONDS,
        "Ports": port_rows(container),
        "Labels": container.config.labels or {},
        "State": container.status.value,
        "Status": status_text(container, now),
        "HostConfig": _listed_host(container.host_config),
        "Health": {
            "Status": health.status if health is not None else "none",
            "FailingStreak": health.failing_streak if health is not None else 0,
        },
        "NetworkSettings": {"Networks": networks_document(container)},
        "Mounts": [point.to_api() for point in container.mounts if point.listed],
    }


def _listed_host(host: HostConfig) -> dict[str, Any]:
    annotations = {"Annotations": host.annotations} if host.annotations else {}
    return {"NetworkMode": host.network_mode, **annotations}


def _command(container: Container) -> str:
    quoted = (f"'{word}'" if " " in word else word for word in container.arguments)
    return " ".join([container.path, *quoted])


def status_text(container: Container, now: float) -> str:
    """Return ContainerList's `Status`, as in ``Up 3 minutes`` and ``Exited (0) 2 hours ago``."""
    state = container.state
    if state.running:
        since = human_duration(now - state.started_at / NANOSECONDS)
        if state.status is Status.PAUSED:
            return f"Up {since} (Paused)"
        return f"Up {since}{_health_text(container)}"
    if state.status is Status.RESTARTING:
        since = human_duration(now - state.finished_at / NANOSECONDS)
        return f"Restarting ({state.exit_code}) {since} ago"
    if container.status is Status.REMOVING:
        return "Removal In Progress"
    if not state.started_at and not state.finished_at:
        return "Created"
    since = human_duration(now - state.finished_at / NANOSECONDS)
    return f"Exited ({state.exit_code}) {since} ago"


def _health_text(container: Container) -> str:
    if container.health is None:
        return ""
    status = container.health.status
    return f" (health: {status})" if status == "starting" else f" ({status})"


def human_duration(seconds: float) -> str:
    """Return how long `seconds` are, in words, as Docker's go-units writes it."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(seconds / 3600)
    steps: tuple[tuple[bool, str], ...] = (
        (whole < 1, "Less than a second"),
        (whole == 1, "1 second"),
        (whole < 60, f"{whole} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    for fits, text in steps:
        if fits:
            return text
    return f"{int(seconds / 3600) // 24 // 365} years"


def now() -> float:
    """Return the time in seconds since 1970."""
    return time.time()
