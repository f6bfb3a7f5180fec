"""What older versions of the API told of a container, made from what the newest tells.

Source: dockerd's answers at each version: a current one's from 1.40 on, below it those of 20.10,
which was made for them. Rule: a document is changed in place, right after it was made.
"""

from __future__ import annotations

from typing import Any

from dockerapi.local.containers.container import Container
from dockerapi.model.versions import Version

#: Below it, answers are those of 20.10.
CURRENT = Version(1, 40)
#: From here on the first network's settings are not repeated at the top.
_NETWORKS_ONLY = Version(1, 52)
_HEALTH_LISTED = Version(1, 52)
_ANNOTATIONS_LISTED = Version(1, 46)
_NETWORKS_SINCE = Version(1, 21)
_MOUNTS_SINCE = Version(1, 20)

#: The settings of the default bridge, which stood at the top before a container had networks.
_OF_BRIDGE: dict[str, Any] = {
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}
#: What has said nothing since 1.9, and is gone from current dockerds whatever the version.
_SAYING_NOTHING: dict[str, Any] = {
    "Bridge": "",
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
}
#: What samples did not have, and what they tell of interfaces.
_NEW_OF_SAMPLES = ("id", "name", "os_type", "networks")
_COUNTED = tuple(
    f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")
)
#: What endpoints do not tell below `CURRENT`.
_NEW_OF_ENDPOINTS = ("GwPriority", "DNSNames")


def inspected_at(version: Version, document: dict[str, Any], container: Container) -> None:
    """Make ContainerInspect's newest `document` that of `version`."""
    settings = document["NetworkSettings"]
    if version < _NETWORKS_ONLY:
        bridge = settings["Networks"].get("bridge", {})
        settings |= {name: bridge.get(name, none) for name, none in _OF_BRIDGE.items()}
    if version >= CURRENT:
        return
    settings |= _SAYING_NOTHING
    _without_news(settings["Networks"])
    document["GraphDriver"]["Data"].pop("ID", None)
    document["Config"].setdefault("OnBuild", None)
    document["HostConfig"] |= {"KernelMemory": 0, "KernelMemoryTCP": 0}
    if version < _NETWORKS_SINCE:
        del settings["Networks"]
        config = container.config
        document["Config"] |= {
            "MacAddress": config.mac_address,
            "NetworkDisabled": config.network_disabled,
            "ExposedPorts": config.exposed_ports or None,
            "VolumeDriver": container.host_config.volume_driver,
        }
    if version < _MOUNTS_SINCE:
        _inspected_without_mounts(document, container)


def _inspected_without_mounts(document: dict[str, Any], container: Container) -> None:
    mounts, host = document.pop("Mounts"), container.host_config
    document["Volumes"] = {point["Destination"]: point["Source"] for point in mounts}
    document["VolumesRW"] = {point["Destination"]: point["RW"] for point in mounts}
    document["Config"] |= {
        "Memory": host.memory,
        "MemorySwap": host.memory_swap,
        "CpuShares": host.cpu_shares,
        "Cpuset": host.cpuset_cpus,
    }


def sampled_at(version: Version, document: dict[str, Any]) -> dict[str, Any]:
    """Return ContainerStats' newest `document` of a container that runs as that of `version`.

    Before containers had networks all their interfaces were told as one.
    """
    if version >= _NETWORKS_SINCE:
        return document
    older = {key: value for key, value in document.items() if key not in _NEW_OF_SAMPLES}
    interfaces = document.get("networks", {}).values()
    return older | {
        "network": {name: sum(one.get(name, 0) for one in interfaces) for name in _COUNTED}
    }


def listed_at(version: Version, row: dict[str, Any]) -> None:
    """Make a row of the newest ContainerList that of `version`."""
    if version < _HEALTH_LISTED:
        del row["Health"]
    if version < _ANNOTATIONS_LISTED:
        row["HostConfig"].pop("Annotations", None)
    if version < CURRENT:
        _without_news(row["NetworkSettings"]["Networks"])


def _without_news(endpoints: dict[str, dict[str, Any]]) -> None:
    for endpoint in endpoints.values():
        for name in _NEW_OF_ENDPOINTS:
            endpoint.pop(name, None)
