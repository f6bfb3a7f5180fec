"""Which subnet a network gets and which address an endpoint, as pure functions.

Source: dockerd's default address pools (172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in
/20s). Rule: a subnet never overlaps one that the host uses already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import msgspec

from dockerapi.engine.errors import EngineError, InvalidParameter


class AddressPool(msgspec.Struct, frozen=True):
    """Subnets of one size to choose from (dockerd's ``default-address-pools``).

    :ivar base: the network that they are cut from.
    :ivar size: their prefix length.
    """

    base: IPv4Network
    size: int


DEFAULT_POOLS: tuple[AddressPool, ...] = (
    *(AddressPool(IPv4Network(f"172.{number}.0.0/16"), 16) for number in range(17, 32)),
    AddressPool(IPv4Network("192.168.0.0/16"), 20),
)


def choose_subnet(pools: Sequence[AddressPool], used: Collection[IPv4Network]) -> IPv4Network:
    """Return the first subnet of `pools` that overlaps none of `used`.

    Raises `EngineError` in dockerd's words where there is none.
    """
    for pool in pools:
        for subnet in pool.base.subnets(new_prefix=pool.size):
            if not any(subnet.overlaps(network) for network in used):
                return subnet
    raise EngineError(
        "could not find an available, non-overlapping IPv4 address pool among the defaults "
        "to assign to the network"
    )


def parse_bip(text: str) -> IPv4Interface:
    """Read the option `bip`: the bridge's own address with the prefix length of its network.

    Raises `InvalidParameter` for what is none, or leaves no room for containers.
    """
    try:
        address = IPv4Interface(text)
    except ValueError:
        raise InvalidParameter(f"invalid bip {text!r}: want ADDRESS/LENGTH") from None
    network = address.network
    if "/" not in text or network.prefixlen > 30:
        raise InvalidParameter(f"invalid bip {text!r}: the network has no room for containers")
    if address.ip in (network.network_address, network.broadcast_address):
        raise InvalidParameter(f"invalid bip {text!r}: not the address of a host")
    return address


def first_host(network: IPv4Network) -> IPv4Interface:
    """Return the first address of a host in `network`: the gateway unless one is asked for."""
    return IPv4Interface((network.network_address + 1, network.prefixlen))


class Addresses:
    """The addresses of one network that are in use, and which is next.

    An address that was let go of comes again last of all, so that a neighbour that remembers the
    last container never reaches the next one in its stead.
    """

    def __init__(self, network: IPv4Network, taken: Iterable[IPv4Address]) -> None:
        self.network = network
        self._taken = set(taken)
        self._last = network.network_address

    def __len__(self) -> int:
        return len(self._taken)

    def take(self) -> IPv4Address:
        """Reserve and return the next free address.

        Raises `EngineError` in dockerd's words where all are in use.
        """
        for address in self._candidates():
            if address not in self._taken:
                self._taken.add(address)
                self._last = address
                return address
        raise EngineError("no available IPv4 addresses on this network's address pools: bridge")

    def release(self, address: IPv4Address) -> None:
        """Let go of an address; nothing happens where it is free."""
        self._taken.discard(address)

    def _candidates(self) -> Iterator[IPv4Address]:
        size = self.network.num_addresses
        start = int(self._last) - int(self.network.network_address)
        for step in range(1, size + 1):
            offset = (start + step) % size
            if 0 < offset < size - 1:
                yield self.network.network_address + offset


def mac_of(address: IPv4Address) -> str:
    """Return the hardware address that belongs to `address`: 02:42 and its four bytes.

    As it follows from the address, what neighbours remember stays right when it is given again.
    """
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + address.packed)
