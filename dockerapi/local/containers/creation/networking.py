"""What a create request may say about networks and ports, and what follows from it.

Source: dockerd's rules and texts. Rule: pure functions; who may join whom is seen at the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from dockerapi.engine.errors import InvalidParameter
from dockerapi.model.containers import ContainerConfig, HostConfig
from dockerapi.model.malformed import Malformed
from dockerapi.model.ports import Port, exposed_ports, parse_ports, requested_ports

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
        _check_host(host)
    _check_ports(config, host)
    _check_names(host)


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
        (
            host.port_bindings or host.publish_all_ports,
            "port publishing and the container type network mode",
        ),
        (config.exposed_ports, "port exposing and the container type network mode"),
    )
    for given, text in conflicts:
        if given:
            raise InvalidParameter(f"conflicting options: {text}")


def _check_host(host: HostConfig) -> None:
    if host.links:
        raise InvalidParameter(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )


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
        name, colon, address = entry.partition(":")
        if not name or not colon or entry.split() != [entry]:
            raise InvalidParameter(f'bad format for add-host: "{entry}"')
        if address != _HOST_GATEWAY and not _is_address(address.strip("[]")):
            raise InvalidParameter(f'invalid IP address in add-host: "{address}"')
    for server in host.dns or ():
        if not _is_address(server):
            raise InvalidParameter(f'invalid JSON: ParseAddr("{server}"): unable to parse IP')
    for word in (*(host.dns_search or ()), *(host.dns_options or ())):
        if word.split() != [word]:
            raise InvalidParameter(f"{word!r} is not a valid domain or option of resolv.conf")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
