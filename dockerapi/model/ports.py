"""Ports: how the API writes those of a container and those of its host that lead there.

Source: `PortMap`, `PortBinding` and `ExposedPorts` of the specification; texts as dockerd's. Rule:
every text is checked to its end, as all of it comes from clients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from dockerapi.model.containers import PortBinding
from dockerapi.model.malformed import Malformed

#: What a port can be one of.
PROTOCOLS = ("tcp", "udp", "sctp")
_HIGHEST = 65535
_NUMBERS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class Port(msgspec.Struct, frozen=True, order=True):
    """A port of a container, written ``80/tcp``."""

    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.number}/{self.protocol}"

    @classmethod
    def parse(cls, text: str) -> Port:
        """Read ``80``, ``80/tcp`` or ``80/TCP``; raise `Malformed` for anything else."""
        ports = parse_ports(text)
        if len(ports) != 1:
            raise Malformed(f'invalid port specification: "{text.partition("/")[0]}"')
        return ports[0]


class PublishedPort(msgspec.Struct, frozen=True):
    """A port of the host that leads to one of a container.

    :ivar port: the container's.
    :ivar address: the host's address in text, ``0.0.0.0`` and ``::`` for all of them.
    :ivar number: the host's port.
    """

    port: Port
    address: str
    number: int


class PortRequest(msgspec.Struct, frozen=True):
    """A wish for a `PublishedPort`: the first that is free from `first` to `last`.

    :ivar addresses: on which the same number is wanted, in text.
    :ivar first: 0 for whatever the host has.
    """

    port: Port
    addresses: tuple[str, ...]
    first: int = 0
    last: int = 0


def parse_ports(text: str) -> list[Port]:
    """Read ``80``, ``80/tcp`` or ``80-85/udp``; raise `Malformed` for anything else."""
    numbers, _, protocol = text.partition("/")
    found = _range(numbers)
    if found is None or not found[0]:
        raise Malformed(f"invalid JSON: invalid port '{numbers}': invalid syntax")
    kind = protocol.lower() or "tcp"
    if kind not in PROTOCOLS:
        raise Malformed(f"invalid proto: {protocol}")
    return [Port(number, kind) for number in range(found[0], found[1] + 1)]


def exposed_ports(names: Iterable[str]) -> list[Port]:
    """Return the ports that `ExposedPorts` names, in order; what is none is left out.

    An image may name anything, and is no reason to refuse a container.
    """
    found = set()
    for name in names:
        try:
            found.update(parse_ports(name))
        except Malformed:
            continue
    return sorted(found)


def requested_ports(
    exposed: Iterable[str],
    bindings: Mapping[str, Sequence[PortBinding] | None] | None,
    publish_all: bool,
) -> list[PortRequest]:
    """Return what `PortBindings` and `PublishAllPorts` ask for, the narrowest wishes first.

    So a wish for any port never takes one that another wish names. Raises `Malformed`.
    """
    wishes: list[PortRequest] = []
    bound = set()
    for name, wanted in (bindings or {}).items():
        port = Port.parse(name)
        bound.add(port)
        # An empty list stands for a binding without address and number.
        wishes += [_request(port, one) for one in wanted or (PortBinding(),)]
    if publish_all:
        free = PortBinding()
        wishes += [_request(port, free) for port in exposed_ports(exposed) if port not in bound]
    return sorted(wishes, key=lambda one: (not one.first, one.last - one.first, one.port))


def matched_ports(text: str) -> set[Port]:
    """Read a filter `publish` or `expose`: a port or a range of them; raise `Malformed`."""
    numbers, _, protocol = text.partition("/")
    first, dash, last = numbers.partition("-")
    low, high = _filter_number(first), _filter_number(last if dash else first)
    if high < low:
        raise Malformed(f"Invalid range specified for the Port: {numbers}")
    kind = protocol.lower() or "tcp"
    return {Port(number, kind) for number in range(low, high + 1)}


def _request(port: Port, binding: PortBinding) -> PortRequest:
    addresses = _addresses(binding.host_ip)
    if not binding.host_port:
        return PortRequest(port, addresses)
    found = _range(binding.host_port)
    if found is None:
        raise Malformed(f'invalid port specification: "{binding.host_port}"')
    return PortRequest(port, addresses, *found)


def _addresses(text: str) -> tuple[str, ...]:
    if not text:
        return ("0.0.0.0", "::")
    try:
        address: IPv4Address | IPv6Address = ip_address(text.strip("[]"))
    except ValueError:
        raise Malformed(f'invalid JSON: ParseAddr("{text}"): unable to parse IP') from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return (str(address),)


def _range(text: str) -> tuple[int, int] | None:
    match = _NUMBERS.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    last = int(match[2] or first)
    return (first, last) if first <= last <= _HIGHEST else None


def _filter_number(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise Malformed(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    number = int(text) if len(text) < 6 else _HIGHEST + 1
    if number > _HIGHEST:
        raise Malformed(f'strconv.ParseUint: parsing "{text}": value out of range')
    return number
