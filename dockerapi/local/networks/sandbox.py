"""What a container has of the network: its namespace, and its endpoints on networks.

Rule: values alone, which never change.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from dockerapi.model.ports import PublishedPort


class Endpoint(msgspec.Struct, frozen=True):
    """A container's place on one network.

    :ivar network: the network's name, and `network_id` its id.
    :ivar id: the endpoint's own id, 64 hex digits.
    :ivar name: the container's name when it was connected.
    :ivar ip: its IPv4 address in text; empty where the network gives none.
    :ivar prefix_length: of the network that `ip` is in; 0 without one.
    :ivar gateway: the address of the default route; empty without one.
    :ivar mac: its hardware address, as in ``02:42:ac:12:00:02``; empty without one.
    :ivar interface: the name of the link on the host's side; empty without one.
    """

    network: str
    network_id: str
    id: str
    name: str
    ip: str = ""
    prefix_length: int = 0
    gateway: str = ""
    mac: str = ""
    interface: str = ""


class Sandbox(msgspec.Struct, frozen=True):
    """The network of one container.

    :ivar id: 64 hex digits (the API's ``SandboxID``).
    :ivar container: the container that it was made for; others may join.
    :ivar path: the pinned namespace to run in (the API's ``SandboxKey``); None for the host's.
    :ivar ports: the ports of the host that lead to its container.
    :ivar host: the address by which containers reach the host (``host-gateway``); may be empty.
    """

    id: str
    container: str
    path: Path | None
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    host: str = ""

    @property
    def address(self) -> str:
        """The address to which published ports lead; empty where it has none of its own."""
        return next((one.ip for one in self.endpoints if one.ip), "")
