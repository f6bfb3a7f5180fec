"""The links and namespaces of the default bridge: what is done with the kernel, blocking.

Rule: used by one thread at a time, never the reactor's; importing this takes 0.1 s (pyroute2).
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Interface, IPv4Network, ip_interface
from pathlib import Path

import msgspec

from dockerapi.local.networks import netlink
from dockerapi.local.networks.namespaces import (
    in_namespace,
    is_pinned,
    make_namespace,
    remove_namespace,
)
from dockerapi.local.networks.netlink import Link, Netlink
from dockerapi.local.networks.nfelements import NfElements

#: Left on the links that we made, so that others' are never deleted.
ALIAS = "dockerapi"
#: How the names of the links begin that lead to containers, on the host's side.
PREFIX = "veth"
_LOOPBACK = 1
_INSIDE = "eth0"
_SYS = Path("/proc/sys/net")
#: The lengths of the networks in which link-local addresses are, by IP's version.
_LINK_LOCAL = {4: 16, 6: 64}
#: How often, and after which pause in seconds, a link is asked whether it carries packets.
_PATIENCE, _PAUSE = 100, 0.001


class Surroundings(msgspec.Struct, frozen=True):
    """What the host uses already.

    :ivar networks: the IPv4 networks that it has routes to (without the bridge's own).
    :ivar bridge: the bridge where it exists, and `address` its first address.
    """

    networks: tuple[IPv4Network, ...]
    bridge: Link | None
    address: IPv4Interface | None


class Plumbing:
    """Makes and removes what a bridge and its containers need in the kernel.

    :ivar elements: of the maps of the bridge's nft table.
    """

    def __init__(self, bridge: str, mtu: int, directory: Path) -> None:
        self._name = bridge
        self._mtu = mtu
        self._directory = directory
        self._netlink = Netlink()
        self.elements = NfElements(bridge)
        self._bridge = 0
        directory.mkdir(mode=0o711, parents=True, exist_ok=True)

    def close(self) -> None:
        """Close the sockets."""
        self._netlink.close()
        self.elements.close()

    def look(self) -> Surroundings:
        """Return what the host uses already."""
        bridge = self._netlink.link(self._name)
        index = bridge.index if bridge is not None else -1
        addresses = self._netlink.addresses(index) if bridge is not None else []
        networks = {network for network, link in self._netlink.routes() if link != index}
        return Surroundings(tuple(networks), bridge, addresses[0] if addresses else None)

    def raise_bridge(self, address: IPv4Interface) -> None:
        """Make the bridge with `address`, as far as it lacks, and let the host forward.

        Raises OSError.
        """
        bridge = self._netlink.link(self._name)
        if bridge is None:
            mac = ":".join(f"{byte:02x}" for byte in b"\x02\x42" + secrets.token_bytes(4))
            self._netlink.execute(netlink.new_bridge(self._name, mac, self._mtu))
            bridge = self._netlink.link(self._name)
            if bridge is None:
                raise OSError(errno.ENODEV, "the bridge vanished", self._name)
            self._netlink.execute(netlink.set_link(bridge.index, ALIAS))
        self._bridge = bridge.index
        self._netlink.execute(netlink.set_link(bridge.index))
        if address not in self._netlink.addresses(bridge.index):
            self._netlink.execute(netlink.new_address(bridge.index, address))
        forward = _SYS / "ipv4/ip_forward"
        if forward.read_text().strip() == "0":
            forward.write_text("1")

    def route_loopback(self) -> None:
        """Let the host's own 127/8 reach containers by the bridge, for published ports."""
        (_SYS / f"ipv4/conf/{self._name}/route_localnet").write_text("1")

    def remove_bridge(self) -> None:
        """Delete the bridge, if it is ours and nobody put a link of another kind on it."""
        links = self._netlink.links()
        for link in links:
            if link.name == self._name and link.alias == ALIAS:
                ports = [other for other in links if other.master == link.index]
                if all(port.name.startswith(PREFIX) for port in ports):
                    self._delete(link)

    def make_isolated(self, name: str) -> Path:
        """Make a namespace in which only loopback is up, and return its pin."""
        pin = self._directory / name
        inside = make_namespace(pin, Netlink)
        try:
            inside.execute(netlink.set_link(_LOOPBACK))
        except BaseException:
            remove_namespace(pin)
            raise
        finally:
            inside.close()
        return pin

    def make_connected(
        self, name: str, interface: str, mac: str, address: IPv4Interface, gateway: IPv4Interface
    ) -> Path:
        """Make a namespace whose eth0 is on the bridge as `interface`, and return its pin.

        Raises OSError; nothing is left then.
        """
        pin = self._directory / name
        inside, namespace = make_namespace(pin, _open_inside)
        try:
            self._netlink.execute(
                netlink.new_veth(interface, self._bridge, self._mtu, _INSIDE, mac, namespace)
            )
            # A container reaches ports that it publishes itself, also where bridges call iptables.
            Path(f"/sys/class/net/{interface}/brport/hairpin_mode").write_text("1")
            link = inside.link(_INSIDE)
            if link is None:
                raise OSError(errno.ENODEV, "the container's end of the link vanished", interface)
            inside.execute(
                netlink.set_link(_LOOPBACK),
                netlink.set_link(link.index),
                netlink.new_address(link.index, address),
                netlink.new_default_route(link.index, gateway.ip),
            )
            for kernel, link_name in (
                (inside, _INSIDE),
                (self._netlink, interface),
                (self._netlink, self._name),
            ):
                _wait_until_running(kernel, link_name)
        except BaseException:
            remove_namespace(pin)
            raise
        finally:
            inside.close()
            os.close(namespace)
        return pin

    def set_mac(self, pin: Path, mac: str) -> None:
        """Give the eth0 of a namespace another hardware address."""
        with _inside(pin) as (kernel, index):
            kernel.execute(netlink.set_link(index, mac=mac))

    def add_link_local(self, pin: Path, addresses: Collection[str]) -> None:
        """Give the eth0 of a namespace more addresses, of IPv4 or IPv6."""
        with _inside(pin) as (kernel, index):
            for address in addresses:
                plain = ip_interface(address)
                length = _LINK_LOCAL[plain.version]
                kernel.execute(netlink.new_address(index, ip_interface(f"{plain.ip}/{length}")))

    def remove(self, names: Mapping[str, Collection[str]]) -> None:
        """Let go of the namespaces `names`, given with their links, which die with them."""
        for name, links in names.items():
            if not remove_namespace(self._directory / name):
                # What is not there any more must not answer for an address that others get.
                self.cut(links)

    def cut(self, names: Collection[str]) -> None:
        """Delete the links `names`, in namespaces that live on without them."""
        for name in names:
            link = self._netlink.link(name)
            if link is not None:
                self._delete(link)

    def pinned(self) -> set[str]:
        """Return the names of the namespaces that are pinned, and remove what only looks so."""
        found = set()
        for pin in self._directory.iterdir():
            if is_pinned(pin):
                found.add(pin.name)
            elif pin.is_file():
                remove_namespace(pin)
        return found

    def repair_links(self, known: Collection[str]) -> None:
        """Have exactly the links `known` on the bridge: put them back there, delete others.

        A bridge that is not ours keeps what is on it.
        """
        links = self._netlink.links()
        owned = any(link.index == self._bridge and link.alias == ALIAS for link in links)
        for link in links:
            if link.name in known:
                if link.master != self._bridge:
                    self._netlink.execute(netlink.set_link(link.index, master=self._bridge))
            elif owned and link.master == self._bridge and link.name.startswith(PREFIX):
                self._delete(link)

    def attach_links(self, names: Collection[str]) -> None:
        """Put the links `names` on the bridge, those that there are."""
        for link in self._netlink.links():
            if link.name in names and link.master != self._bridge:
                self._netlink.execute(netlink.set_link(link.index, master=self._bridge))

    def _delete(self, link: Link) -> None:
        try:
            self._netlink.execute(netlink.delete_link(link.index))
        except OSError as error:
            # It died with its namespace in the meantime.
            if error.errno != errno.ENODEV:
                raise


@contextmanager
def _inside(pin: Path) -> Iterator[tuple[Netlink, int]]:
    """Give a socket in the namespace `pin`, and the index of its eth0."""
    kernel = in_namespace(pin, Netlink)
    try:
        link = kernel.link(_INSIDE)
        if link is None:
            raise OSError(errno.ENODEV, "the container's end of the link vanished", str(pin))
        yield kernel, link.index
    finally:
        kernel.close()


def _wait_until_running(kernel: Netlink, name: str) -> None:
    """Wait for a link that was set up to carry packets, for a tenth of a second at most.

    The kernel does that a little later on its own; what is sent before is lost, and the first
    connection then takes a second.
    """
    for _ in range(_PATIENCE):
        link = kernel.link(name)
        if link is None or link.running:
            return
        time.sleep(_PAUSE)


def _open_inside() -> tuple[Netlink, int]:
    """Return a socket and a descriptor of the namespace that the thread is in."""
    inside = Netlink()
    try:
        return inside, os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except BaseException:
        inside.close()
        raise
