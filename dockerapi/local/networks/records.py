"""Networks, sandboxes and endpoints in the database.

Rule: functions of one connection, to be run by the store as one transaction each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import msgspec
from twisted.logger import Logger

from dockerapi.local.networks.sandbox import Endpoint, Sandbox
from dockerapi.model.ports import Port, PublishedPort

_PROTOCOLS = frozenset(("tcp", "udp", "sctp"))

_log = Logger()


class NetworkRecord(msgspec.Struct, frozen=True):
    """A network as it is kept.

    :ivar created: nanoseconds since 1970.
    :ivar address: the gateway with the prefix length of the subnet; None where none is managed.
    """

    id: str
    name: str
    driver: str
    created: int
    address: IPv4Interface | None = None


def load_networks(connection: sqlite3.Connection) -> list[NetworkRecord]:
    """Return every network."""
    return [
        NetworkRecord(
            id,
            name,
            driver,
            created,
            _address(name, subnet, gateway) if subnet else None,
        )
        for id, name, driver, created, subnet, gateway in connection.execute(
            "SELECT id, name, driver, created, subnet, gateway FROM networks ORDER BY rowid"
        )
    ]


def _address(name: str, subnet: str, gateway: str) -> IPv4Interface | None:
    """Return a network's own address; None, to be chosen anew, where its row is damaged."""
    try:
        return IPv4Interface(f"{gateway}/{subnet.partition('/')[2]}")
    except ValueError as error:
        _log.error("the row of the network {name} is damaged: {error}", name=name, error=error)
        return None


def save_network(connection: sqlite3.Connection, network: NetworkRecord) -> None:
    """Insert the network, or set the subnet of the one that is there."""
    address = network.address
    connection.execute(
        "INSERT INTO networks (id, name, driver, created, subnet, gateway)"
        " VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET subnet = excluded.subnet, gateway = excluded.gateway",
        (
            network.id,
            network.name,
            network.driver,
            network.created,
            str(address.network) if address is not None else None,
            str(address.ip) if address is not None else None,
        ),
    )


def load_sandboxes(
    connection: sqlite3.Connection, networks: Iterable[NetworkRecord], directory: Path
) -> list[Sandbox]:
    """Return every sandbox; `directory` holds the pins of their namespaces.

    What belongs to none is deleted: its addresses and ports are free.
    """
    for table in ("endpoints", "ports"):
        connection.execute(f"DELETE FROM {table} WHERE sandbox NOT IN (SELECT id FROM sandboxes)")
    by_id = {network.id: network for network in networks}
    bridge = next((one.address for one in by_id.values() if one.name == "bridge"), None)
    host = str(bridge.ip) if bridge is not None else ""
    endpoints = _load_endpoints(connection, by_id)
    ports = _load_ports(connection)
    return [
        Sandbox(
            id,
            container,
            directory / namespace if namespace is not None else None,
            tuple(endpoints.get(id, ())),
            tuple(ports.get(id, ())),
            host,
        )
        for id, container, namespace in connection.execute(
            "SELECT id, container, namespace FROM sandboxes"
        )
    ]


def _load_endpoints(
    connection: sqlite3.Connection, networks: Mapping[str, NetworkRecord]
) -> dict[str, list[Endpoint]]:
    """Return the endpoints of each sandbox, in `networks` by id; what is damaged is left out."""
    endpoints: dict[str, list[Endpoint]] = {}
    for id, sandbox, network_id, name, interface, mac, address in connection.execute(
        "SELECT id, sandbox, network, name, interface, mac, address FROM endpoints ORDER BY rowid"
    ):
        try:
            endpoint = _endpoint(id, name, interface, mac, address, networks[network_id])
        except (ValueError, KeyError) as error:
            _log.error("the row of the endpoint {id} is damaged: {error}", id=id, error=error)
        else:
            endpoints.setdefault(sandbox, []).append(endpoint)
    return endpoints


def _endpoint(
    id: str,
    name: str,
    interface: str | None,
    mac: str | None,
    address: str | None,
    network: NetworkRecord,
) -> Endpoint:
    """Return what a row tells; raises ValueError for what is no address."""
    home = network.address if address is not None else None
    return Endpoint(
        network=network.name,
        network_id=network.id,
        id=id,
        name=name,
        ip=str(IPv4Address(address)) if address else "",
        prefix_length=home.network.prefixlen if home is not None else 0,
        gateway=str(home.ip) if home is not None else "",
        mac=mac or "",
        interface=interface or "",
    )


def _load_ports(connection: sqlite3.Connection) -> dict[str, list[PublishedPort]]:
    """Return the published ports of each sandbox; what is damaged is left out."""
    ports: dict[str, list[PublishedPort]] = {}
    for sandbox, protocol, address, number, container_port in connection.execute(
        "SELECT sandbox, protocol, address, number, container_port FROM ports ORDER BY rowid"
    ):
        if protocol in _PROTOCOLS and 0 < number < 65536 and 0 < container_port < 65536:
            port = PublishedPort(Port(container_port, protocol), address, number)
            ports.setdefault(sandbox, []).append(port)
        else:
            _log.error("the row of the port {number} is damaged", number=number)
    return ports


def save_sandbox(connection: sqlite3.Connection, sandbox: Sandbox) -> None:
    """Insert a sandbox with its endpoints and ports.

    An address or a port in use raises sqlite3.IntegrityError.
    """
    connection.execute(
        "INSERT INTO sandboxes (id, container, namespace) VALUES (?, ?, ?)",
        (
            sandbox.id,
            sandbox.container,
            sandbox.path.name if sandbox.path is not None else None,
        ),
    )
    connection.executemany(
        "INSERT INTO endpoints (id, sandbox, network, name, interface, mac, address)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                endpoint.id,
                sandbox.id,
                endpoint.network_id,
                endpoint.name,
                endpoint.interface or None,
                endpoint.mac or None,
                endpoint.ip or None,
            )
            for endpoint in sandbox.endpoints
        ],
    )
    connection.executemany(
        "INSERT INTO ports (sandbox, protocol, address, number, container_port)"
        " VALUES (?, ?, ?, ?, ?)",
        [
            (sandbox.id, one.port.protocol, one.address, one.number, one.port.number)
            for one in sandbox.ports
        ],
    )


def delete_sandboxes(connection: sqlite3.Connection, containers: Iterable[str]) -> None:
    """Delete the sandboxes of `containers`, with their endpoints and ports."""
    rows = [(container,) for container in containers]
    connection.executemany(
        "DELETE FROM endpoints WHERE sandbox IN (SELECT id FROM sandboxes WHERE container = ?)",
        rows,
    )
    connection.executemany("DELETE FROM sandboxes WHERE container = ?", rows)
