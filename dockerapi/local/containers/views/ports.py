"""Ports as the API tells of them: inspect's `Ports`, the rows of a list, and filters by ports.

Rule: everything is answered from memory; what is told are the ports that are really there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dockerapi.local.containers.container import Container
from dockerapi.model.ports import Port, PublishedPort, exposed_ports, matched_ports


def port_map(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """Return the specification's `PortMap` of a container: what leads to each exposed port."""
    return {
        str(port): [{"HostIp": one.address, "HostPort": str(one.number)} for one in published]
        or None
        for port, published in _ports(container)
    }


def port_rows(container: Container) -> list[Mapping[str, Any]]:
    """Return the specification's `PortSummary` of each address of each port."""
    rows: list[Mapping[str, Any]] = []
    for port, published in _ports(container):
        private = {"PrivatePort": port.number, "Type": port.protocol}
        rows += [{"IP": one.address, "PublicPort": one.number, **private} for one in published]
        if not published:
            rows.append(private)
    return rows


def publishes(container: Container, wanted: Sequence[str]) -> bool:
    """Tell whether a port of the host that one of the filters names leads to `container`.

    Of a container that does not run, whether it would.
    """
    sandbox = container.sandbox
    ports = {Port(one.number, one.port.protocol) for one in (sandbox.ports if sandbox else ())}
    for name, bindings in (container.host_config.port_bindings or {}).items():
        protocol = Port.parse(name).protocol
        numbers = (one.host_port for one in bindings or ())
        ports |= {Port(int(number), protocol) for number in numbers if number.isdecimal()}
    return _any(ports, wanted)


def exposes(container: Container, wanted: Sequence[str]) -> bool:
    """Tell whether `container` exposes a port that one of the filters names."""
    return _any(set(exposed_ports(container.config.exposed_ports or ())), wanted)


def _any(ports: set[Port], wanted: Sequence[str]) -> bool:
    return not wanted or any(not ports.isdisjoint(matched_ports(text)) for text in wanted)


def _ports(container: Container) -> list[tuple[Port, list[PublishedPort]]]:
    """Return the ports that a container has on its network, with what leads to each."""
    sandbox = container.sandbox
    if sandbox is None or not sandbox.address:
        return []
    exposed = set(exposed_ports(container.config.exposed_ports or ()))
    exposed |= {one.port for one in sandbox.ports}
    return [(port, [one for one in sandbox.ports if one.port == port]) for port in sorted(exposed)]
