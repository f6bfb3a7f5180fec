"""What a create request may say about networks and ports, and what follows from it.

Source: dockerd's rules and texts. Rule: pure functions; who may join whom is seen at the start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from dockerapi.engine.errors import InvalidParameter
from dockerapi.model.containers import ContainerConfig, CreateBody, HostConfig
from dockerapi.model.decode import decode_json
from dockerapi.model.malformed import Malformed
from dockerapi.model.ports import Port, exposed_ports, parse_ports, requested_ports

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
_HOST_GATEWAY = "host-gateway"


def check_networking(config: ContainerConfig, host: HostConfig) -> None:
    """Raise `InvalidParameter` in dockerd's words for options that are none, or exclude others."""
    mode, _, joined = host.network_mode.partition(":")
    if mode == "container":
        if not joined:
            raise InvalidParameter(
                "invalid network mode: invalid container format container:<name|id>"
            )
        _check_joining(config, host)
    if host.uts_mode == "host" and config.hostname:
        raise InvalidParameter("conflicting options: hostname and the UTS mode")
    if mode == "host":
        _check_host(config, host)
    _check_ports(config, host)
    _check_names(host)


def check_addresses(body: CreateBody) -> None:
    """Raise `InvalidParameter` for addresses on networks that are none."""
    for settings in _address_settings(body):
        for version, member in ((4, "IPv4Address"), (6, "IPv6Address")):
            text = settings.get(member)
            if text and not _is_address(str(text), version):
                raise InvalidParameter(f"invalid IPv{version} address: {text}")


def check_default_bridge(body: bytes, mode: str) -> None:
    """Raise `InvalidParameter` where a create request wants addresses on the default bridge.

    `body` is the request as received. dockerd says so when the container starts.
    """
    if mode not in ("bridge", "default") or b"IPAMConfig" not in body:
        return
    wanted = ("IPv4Address", "IPv6Address", "LinkLocalIPs")
    for settings in _address_settings(decode_json(body, CreateBody)):
        if any(settings.get(member) for member in wanted):
            raise InvalidParameter(
                "user specified IP address is supported on user defined networks only"
            )


def _address_settings(body: CreateBody) -> Iterator[Mapping[str, object]]:
    """Give the `IPAMConfig` of each endpoint of a create request that has one."""
    networking = body.networking_config
    endpoints = (networking.endpoints_config if networking is not None else None) or {}
    for endpoint in endpoints.values():
        settings = (endpoint or {}).get("IPAMConfig")
        if isinstance(settings, Mapping):
            yield settings


def exposed_with_bindings(
    config: ContainerConfig, host: HostConfig
) -> dict[str, dict[str, object]] | None:
    """Return `ExposedPorts` with the ports that `PortBindings` publishes.

    dockerd leaves it to its clients to name them twice.
    """
    named = config.exposed_ports or {}
    known = set(exposed_ports(named))
    ports = (Port.parse(name) for name in host.port_bindings or ())
    return {**named, **{str(port): {} for port in ports if port not in known}} or None


def checked_mac(body: CreateBody) -> str:
    """Return the hardware address that a request wants, for the container or for its network.

    Empty for none; raises `InvalidParameter` for what is none.
    """
    networking, host = body.networking_config, body.host_config or HostConfig()
    endpoints = (networking.endpoints_config if networking is not None else None) or {}
    wanted: object = body.mac_address
    for name in (host.network_mode, "default", "bridge"):
        wanted = wanted or (endpoints.get(name) or {}).get("MacAddress") or ""
    if not isinstance(wanted, str) or (wanted and _MAC.fullmatch(wanted) is None):
        raise InvalidParameter(f"invalid MAC address: {wanted}")
    return wanted


def network_warnings(host: HostConfig) -> Iterator[str]:
    """Give dockerd's warnings."""
    if host.network_mode == "host" and (host.port_bindings or host.publish_all_ports):
        yield "Published ports are discarded when using host network mode"


def _check_joining(config: ContainerConfig, host: HostConfig) -> None:
    conflicts = (
        (config.hostname, "hostname and the network mode"),
        (
            host.links,
            "container type network can't be used with links. "
            "This would result in undefined behavior",
        ),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (config.mac_address, "mac-address and the network mode"),
        (
            host.port_bindings or host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (config.exposed_ports, "port exposing and the container type network mode"),
    )
    for given, text in conflicts:
        if given:
            raise InvalidParameter(f"conflicting options: {text}")


def _check_host(config: ContainerConfig, host: HostConfig) -> None:
    if host.links:
        raise InvalidParameter(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    if config.mac_address:
        raise InvalidParameter("conflicting options: mac-address and the network mode")


def _check_ports(config: ContainerConfig, host: HostConfig) -> None:
    try:
        for name in config.exposed_ports or ():
            parse_ports(name)
        requested_ports((), host.port_bindings, publish_all=False)
    except Malformed as malformed:
        raise InvalidParameter(malformed.message) from None


def _check_names(host: HostConfig) -> None:
    """Check what is written into /etc/hosts and /etc/resolv.conf."""
    for entry in host.extra_hosts or ():
        name, _, address = entry.partition(":")
        if not name or not address or entry.split() != [entry]:
            raise InvalidParameter(f'bad format for add-host: "{entry}"')
        if address != _HOST_GATEWAY and not _is_address(address.strip("[]")):
            raise InvalidParameter(f'invalid IP address in add-host: "{address}"')
    for server in host.dns or ():
        if not _is_address(server):
            raise InvalidParameter(f'invalid JSON: ParseAddr("{server}"): unable to parse IP')
    for word in (*(host.dns_search or ()), *(host.dns_options or ())):
        if word.split() != [word]:
            raise InvalidParameter(f"{word!r} is not a valid domain or option of resolv.conf")


def _is_address(text: str, version: int | None = None) -> bool:
    try:
        found = ip_address(text)
    except ValueError:
        return False
    return version is None or found.version == version
