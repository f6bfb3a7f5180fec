"""What a create request says of the container's endpoints on networks, and what of it can be.

Source: `EndpointsConfig` of the specification; rules and texts are those of dockerd 29. Rule: the
networks that there are come in as a function: one that is not there is an error at the start only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from typing import Protocol

from dockerapi.engine.errors import InvalidParameter, NotFound
from dockerapi.model.containers import (
    CreateBody,
    EndpointAddresses,
    EndpointSettings,
    HostConfig,
)
from dockerapi.model.decode import decode_json
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import NEWEST, Version

#: From here on a container can be created on more than one network, and a MAC address belongs to
#: one of them.
_SEVERAL = Version(1, 44)
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
#: An option of the driver: settings of the kernel for the interface that the container has there.
_SYSCTLS = "com.docker.network.endpoint.sysctls"
_SYSCTL = re.compile(r"[^.\0]*\.(?:ipv4|ipv6|mpls)\.[^.\0]*\.(?:IFNAME|ifname)\.[^\0]*")
_PREDEFINED = ("", "default", "bridge", "host", "none")
_SETUP = "failed to set up container networking: "


class Network(Protocol):
    """What is asked of a network that there is."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def address(self) -> IPv4Interface | None: ...  # noqa: D102


#: Returns the network that a name or an id names; None where there is none.
Find = Callable[[str], Network | None]
Endpoints = Mapping[str, EndpointSettings]


def wanted_endpoints(body: CreateBody) -> dict[str, EndpointSettings | None]:
    """Return the endpoints that `body` names, by the names of their networks."""
    networking, host = body.networking_config, body.host_config or HostConfig()
    found = dict((networking.endpoints_config if networking is not None else None) or {})
    if host.network_mode in ("", "default") and "default" in found:
        found["bridge"] = found.pop("default")
    return found


def stored_endpoints(received: bytes) -> Endpoints:
    """Return the endpoints of a create request that is kept as it came; none of a damaged one."""
    try:
        wanted = wanted_endpoints(decode_json(received, CreateBody))
    except Malformed:
        return {}
    return {name: settings for name, settings in wanted.items() if settings is not None}


def check_endpoints(body: CreateBody, find: Find, version: Version = NEWEST) -> None:
    """Raise `InvalidParameter` for endpoints that can never be.

    Those on networks that are not there are checked as far as that goes.
    """
    wanted = wanted_endpoints(body)
    for settings in wanted.values():
        _check_syntax(settings or EndpointSettings())
    if version < _SEVERAL and len(wanted) > 1:
        raise InvalidParameter(
            f"Container cannot be created with multiple network endpoints: {', '.join(wanted)}"
        )
    problems = []
    for name, settings in wanted.items():
        if settings is None:
            problems.append(f"invalid config for network {name}: EndpointsConfig is nil")
        elif reason := _invalid(name, settings, find(name)):
            problems.append(f"invalid config for network {name}: {reason}")
    if problems:
        raise InvalidParameter(_joined(problems))


def checked_mac(body: CreateBody, version: Version = NEWEST) -> str:
    """Return the hardware address that a request wants, for the container or for its network.

    Empty for none; raises `InvalidParameter` for what is none, and for two that contradict.
    """
    own, mode = body.mac_address, (body.host_config or HostConfig()).network_mode
    if own and _MAC.fullmatch(own) is None:
        raise InvalidParameter(f"invalid MAC address: {own}")
    networked = mode not in ("host", "none") and not mode.startswith("container:")
    if version < _SEVERAL:
        if own and not networked:
            raise InvalidParameter("conflicting options: mac-address and the network mode")
        return own
    wanted = wanted_endpoints(body)
    name = "bridge" if mode in ("", "default") else mode
    if own and networked and wanted and name not in wanted:
        raise InvalidParameter(
            "unable to migrate container-wide MAC address to a specific network: "
            "HostConfig.NetworkMode must match the identity of a network in "
            "NetworkSettings.Networks"
        )
    settings = wanted.get(name) or next(iter(wanted.values()), None) or EndpointSettings()
    if own and settings.mac_address and settings.mac_address != own:
        raise InvalidParameter(
            "the container-wide MAC address must match the endpoint-specific MAC address "
            "for the main network, or be left empty"
        )
    return (own if networked else "") or settings.mac_address


def check_start(mode: str, endpoints: Endpoints, find: Find) -> None:
    """Raise what keeps a container from being connected to `endpoints`, or to `mode` without any.

    Raises `NotFound` for a network that is not there, `InvalidParameter` for what excludes each
    other: a container has one network so far.
    """
    main = find(mode)
    for name in sorted(endpoints or (mode,), key=lambda one: one != "bridge"):
        network = find(name)
        if network is None:
            raise NotFound(f"{_SETUP}network {name} not found")
        settings = endpoints.get(name) or EndpointSettings()
        if reason := _invalid(network.name, settings, network):
            raise InvalidParameter(_SETUP + reason)
        if main is not None and network.id != main.id:
            raise InvalidParameter(_SETUP + _excluded(main.name, network.name))


def link_local(endpoints: Endpoints) -> list[str]:
    """Return the link-local addresses that are wanted of any of `endpoints`."""
    given = (one.ipam_config.link_local_ips for one in endpoints.values() if one.ipam_config)
    return [address for addresses in given for address in addresses or ()]


def interface_sysctls(endpoints: Endpoints, interface: str) -> dict[str, str]:
    """Return the settings of the kernel that are wanted for `interface`."""
    found = {}
    for settings in endpoints.values():
        for text in _listed_sysctls(settings):
            name, _, value = text.partition("=")
            parts = name.split(".", 4)
            found[".".join((*parts[:3], interface, *parts[4:]))] = value
    return found


def _listed_sysctls(settings: EndpointSettings) -> list[str]:
    text = (settings.driver_opts or {}).get(_SYSCTLS)
    return text.split(",") if text is not None else []


def endpoint_warnings(body: CreateBody) -> Iterator[str]:
    """Give a warning for what of the endpoints has no effect."""
    for name, settings in wanted_endpoints(body).items():
        for option in (settings.driver_opts or ()) if settings is not None else ():
            if option != _SYSCTLS:
                yield (
                    f"NetworkingConfig.EndpointsConfig DriverOpts {option} of {name} "
                    "is not supported yet and has no effect"
                )


def _excluded(main: str, other: str) -> str:
    if "none" in (main, other):
        return (
            "container cannot be connected to multiple networks with one of the networks in "
            "private (none) mode"
        )
    if other == "host":
        return (
            "cannot connect container to host network - "
            "container must be created in host network mode"
        )
    return (
        "container sharing network namespace with another container or host "
        "cannot be connected to any other network"
    )


def _check_syntax(settings: EndpointSettings) -> None:
    """Raise `InvalidParameter` for addresses that are none."""
    addresses = settings.ipam_config or EndpointAddresses()
    texts = (addresses.ipv4_address, addresses.ipv6_address, *(addresses.link_local_ips or ()))
    for text in filter(None, texts):
        try:
            ip_address(text)
        except ValueError:
            message = f'invalid JSON: ParseAddr("{text}"): unable to parse IP'
            raise InvalidParameter(message) from None
    if settings.mac_address and _MAC.fullmatch(settings.mac_address) is None:
        raise InvalidParameter(f"invalid JSON: address {settings.mac_address}: invalid MAC address")


def _invalid(name: str, settings: EndpointSettings, network: Network | None) -> str:
    """Return why `settings` cannot be on the network `name`; empty where they can."""
    problems = [*_problems(name, settings, network), *_sysctl_problems(settings)]
    return f"invalid endpoint settings:\n{_joined(problems)}" if problems else ""


def _problems(name: str, settings: EndpointSettings, network: Network | None) -> Iterator[str]:
    addresses = settings.ipam_config or EndpointAddresses()
    fixed = [text for text in (addresses.ipv4_address, addresses.ipv6_address) if text]
    if name in _PREDEFINED or name.startswith("container:"):
        if fixed:
            yield "user-specified IP address is supported on user-defined networks only"
        if settings.aliases:
            yield "network-scoped aliases are only supported for user-defined networks"
    if addresses.ipv4_address and not _is_host(addresses.ipv4_address, 4):
        yield f"invalid IPv4 address: {addresses.ipv4_address}"
    if addresses.ipv6_address and not _is_host(addresses.ipv6_address, 6):
        yield f"invalid IPv6 address: {addresses.ipv6_address}"
    for text in addresses.link_local_ips or ():
        if not text or ip_address(text).is_unspecified:
            yield f"invalid link-local IP address: {text}"
    if network is not None:
        subnet = network.address.network if network.address is not None else None
        for address in map(_plain, fixed):
            if subnet is None or address.version != 4 or address not in subnet:
                yield f"no configured subnet contains IP address {address}"


def _sysctl_problems(settings: EndpointSettings) -> Iterator[str]:
    for text in _listed_sysctls(settings):
        if _SYSCTL.fullmatch(text) is None:
            yield (
                f"unrecognised network interface sysctl '{text}'; represent 'net.X.Y.ethN.Z=V' "
                "as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )


def _plain(text: str) -> IPv4Address | IPv6Address:
    """Return an address; one of IPv4 that is written as IPv6 as what it is."""
    found = ip_address(text)
    return getattr(found, "ipv4_mapped", None) or found


def _is_host(text: str, version: int) -> bool:
    """Tell whether `text` can be the address of an endpoint, of IPv4 or IPv6."""
    found = ip_address(text)
    zoned = isinstance(found, IPv6Address) and found.scope_id is not None
    return _plain(text).version == version and not found.is_unspecified and not zoned


def _joined(problems: list[str]) -> str:
    """Return one problem as it is, several as a list, as dockerd writes them."""
    if len(problems) == 1:
        return problems[0].strip()
    return "* " + "\n* ".join(problem.replace("\n", "\n\t") for problem in problems)
