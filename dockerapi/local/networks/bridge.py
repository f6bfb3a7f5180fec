"""The default bridge: its address, its rules, and namespaces on it made ahead.

Rule: what touches the kernel runs in the network's own thread; the reactor's only waits.
"""

from __future__ import annotations

import re
import secrets
import socket
import struct
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.host.threads import in_thread, submit
from dockerapi.local.networks.firewall import Firewall, NoFirewall
from dockerapi.local.networks.rules import BridgeRules, Forward
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.local.networks.subnets import (
    DEFAULT_POOLS,
    Addresses,
    AddressPool,
    choose_subnet,
    first_host,
    mac_of,
    parse_bip,
)

if TYPE_CHECKING:
    from dockerapi.local.networks.nfelements import Element
    from dockerapi.local.networks.plumbing import Plumbing, Surroundings


_PROTOCOLS = {
    "tcp": socket.IPPROTO_TCP,
    "udp": socket.IPPROTO_UDP,
    "sctp": socket.IPPROTO_SCTP,
}


class NetworkSettings(msgspec.Struct, frozen=True):
    """What of the settings the networks need.

    :ivar bridge: the name of the default bridge's link.
    :ivar bip: its address with the network's prefix length; empty to choose from `pools`.
    :ivar masquerade: whether containers reach the outside by the host's address (``ip-masq``).
    :ivar communicate: whether containers reach each other (``icc``).
    :ivar firewall: whether rules are made at all (``iptables``).
    :ivar stock: how many namespaces of each kind are made ahead.
    """

    bridge: str = "dockerapi0"
    bip: str = ""
    mtu: int = 1500
    pools: tuple[AddressPool, ...] = DEFAULT_POOLS
    masquerade: bool = True
    communicate: bool = True
    firewall: bool = True
    stock: int = 4


class Prepared(msgspec.Struct, frozen=True):
    """A namespace that waits for its container; on the bridge where it has an address."""

    sandbox: str
    path: Path
    address: IPv4Interface | None = None
    mac: str = ""
    interface: str = ""


class Bridge:
    """The default bridge.

    :ivar address: its own address (the containers' gateway), None until it is up.
    """

    log = Logger()

    def __init__(
        self, settings: NetworkSettings, plumbing: Plumbing, thread: ThreadPoolExecutor
    ) -> None:
        self.address: IPv4Interface | None = None
        self._settings = settings
        self._plumbing = plumbing
        self._thread = thread
        self._addresses: Addresses | None = None
        self._firewall: Firewall | NoFirewall = NoFirewall()
        #: In order; and what changes them, or makes the rules anew, does so alone.
        self._forwards: dict[Forward, None] = {}
        self._changing = DeferredLock()

    @property
    def leads(self) -> bool:
        """Whether the kernel leads published ports to containers, by IPv4."""
        return self._firewall.leads

    @property
    def addresses(self) -> Addresses:
        """The addresses of its network; raises `EngineError` where it is not up."""
        if self._addresses is None:
            raise EngineError("the default bridge is not up")
        return self._addresses

    async def up(
        self,
        kept: IPv4Interface | None,
        taken: Collection[IPv4Address],
        forwards: Iterable[Forward] = (),
    ) -> None:
        """Bring the bridge up with its rules.

        `kept` is the address that it had before, `taken` are those of its living containers, and
        `forwards` the ports of the host that lead to them.
        Raises `EngineError` or OSError for what the host lacks.
        """
        settings = self._settings
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,14}", settings.bridge):
            raise InvalidParameter(f"invalid name of a bridge: {settings.bridge!r}")
        around = await submit(self._thread, self._plumbing.look)
        address = self._choose(around, kept, bool(taken))
        self._firewall = Firewall.find() if settings.firewall else NoFirewall()
        self._forwards = dict.fromkeys(forwards)
        await submit(self._thread, self._plumbing.raise_bridge, address)
        try:
            await self._apply(address)
        except BaseException:
            if not taken:
                await submit(self._thread, self._plumbing.remove_bridge)
            raise
        self._addresses = Addresses(address.network, {address.ip, *taken})
        self.address = address

    async def down(self) -> None:
        """Take away the rules and the bridge; nothing happens where it is not up."""
        if self.address is not None:
            await self._firewall.remove(self._rules(self.address))
            await submit(self._thread, self._plumbing.remove_bridge)
            self.address = None

    async def mend(self, links: Collection[str]) -> None:
        """Make the bridge and its rules again where somebody else took them away.

        `links` are those of its containers, which are put back on it.
        """
        if self.address is None:
            raise EngineError("the default bridge is not up")
        address = self.address
        await submit(self._thread, self._plumbing.raise_bridge, address)
        await self._alone(lambda: self._apply(address))
        await submit(self._thread, self._plumbing.attach_links, links)

    async def lead(self, forwards: Sequence[Forward]) -> None:
        """Lead more ports of the host to containers; raises `EngineError` and leads none then."""
        if forwards and self.leads:
            await self._alone(lambda: self._lead(forwards))
            self._forget_flows(forwards)

    async def unlead(self, forwards: Sequence[Forward]) -> None:
        """Lead ports no longer; those that are not led are no error.

        Raises `EngineError` where the kernel refuses; they are gone at the next change then.
        """
        if forwards and self.leads:
            await self._alone(lambda: self._unlead(forwards))
            self._forget_flows(forwards)

    async def make(self) -> Prepared:
        """Make a namespace on the bridge: address and default route set, links up.

        Raises `EngineError` where the bridge is not up.
        """
        if self.address is None:
            raise EngineError("the default bridge is not up")
        ip = self.addresses.take()
        address = IPv4Interface((ip, self.address.network.prefixlen))
        sandbox = secrets.token_hex(32)
        interface = f"veth{secrets.token_hex(4)[:7]}"
        mac = mac_of(ip)
        try:
            path = await submit(
                self._thread,
                self._plumbing.make_connected,
                sandbox[:12],
                interface,
                mac,
                address,
                self.address,
            )
        except BaseException:
            self.addresses.release(ip)
            raise
        return Prepared(sandbox, path, address, mac, interface)

    async def adjust(self, sandbox: Sandbox, mac: str, link_local: Sequence[str]) -> Sandbox:
        """Give the link of a sandbox another hardware address, and more addresses.

        An empty `mac` leaves its own; raises `EngineError` for what the kernel refuses.
        """
        plumbing, path = self._plumbing, sandbox.path
        if path is None:
            return sandbox
        try:
            if mac:
                await submit(self._thread, plumbing.set_mac, path, mac)
        except OSError as error:
            raise EngineError(f"cannot set the MAC address {mac}: {error.strerror}") from error
        try:
            if link_local:
                await submit(self._thread, plumbing.add_link_local, path, link_local)
        except OSError as error:
            raise EngineError(f"cannot add link-local addresses: {error.strerror}") from error
        endpoints = tuple(structs.replace(one, mac=mac or one.mac) for one in sandbox.endpoints)
        return structs.replace(sandbox, endpoints=endpoints)

    def release(self, addresses: Iterable[str]) -> None:
        """Let go of addresses of endpoints, in text."""
        if self._addresses is not None:
            for address in addresses:
                self._addresses.release(IPv4Address(address))

    def _forget_flows(self, forwards: Iterable[Forward]) -> None:
        """Have UDP flows to these ports begin anew, a little later: nobody waits for that."""
        ports = {one.number for one in forwards if one.protocol == "udp"}
        if ports:
            forgetting = in_thread(_forget_flows, ports)
            forgetting.addErrback(
                lambda failure: self.log.failure("old flows of UDP live on", failure=failure)
            )

    async def _alone(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self._changing.run(lambda: Deferred.fromCoroutine(change()))

    async def _apply(self, address: IPv4Interface) -> None:
        await self._firewall.apply(self._rules(address))
        if self.leads:
            # Not before the rules are there that keep others off the host's loopback.
            await submit(self._thread, self._plumbing.route_loopback)

    async def _lead(self, forwards: Sequence[Forward]) -> None:
        if self.address is None:
            raise EngineError("the default bridge is not up")
        self._forwards |= dict.fromkeys(forwards)
        try:
            if not self._firewall.has_maps:
                await self._firewall.change(self._rules(self.address), forwards, ())
                return
            try:
                elements = [_element(one) for one in forwards]
                await submit(self._thread, self._plumbing.elements.add, elements)
            except FileNotFoundError:
                self.log.warn("the rules of {name} are gone", name=self._settings.bridge)
                await self._apply(self.address)
        except BaseException as error:
            self._drop(forwards)
            if isinstance(error, OSError):
                raise EngineError(f"cannot publish ports: {error}") from error
            raise

    async def _unlead(self, forwards: Sequence[Forward]) -> None:
        self._drop(forwards)
        if self.address is None:
            return
        if not self._firewall.has_maps:
            await self._firewall.change(self._rules(self.address), (), forwards)
            return
        try:
            elements = [_element(one) for one in forwards]
            await submit(self._thread, self._plumbing.elements.remove, elements)
        except OSError as error:
            raise EngineError(f"cannot withdraw published ports: {error}") from error

    def _drop(self, forwards: Iterable[Forward]) -> None:
        for one in forwards:
            self._forwards.pop(one, None)

    def _choose(
        self, around: Surroundings, kept: IPv4Interface | None, occupied: bool
    ) -> IPv4Interface:
        wanted = parse_bip(self._settings.bip) if self._settings.bip else None
        if occupied and kept is not None:
            if wanted not in (None, kept):
                self.log.warn("bip is not used while containers run on {kept}", kept=str(kept))
            return kept
        if wanted is not None:
            return wanted
        if around.address is not None:
            return around.address
        if kept is not None and not any(kept.network.overlaps(one) for one in around.networks):
            return kept
        return first_host(choose_subnet(self._settings.pools, around.networks))

    def _rules(self, address: IPv4Interface) -> BridgeRules:
        settings = self._settings
        return BridgeRules(
            settings.bridge,
            address.network,
            settings.masquerade,
            settings.communicate,
            tuple(self._forwards),
        )


def _forget_flows(ports: Collection[int]) -> None:
    # Here, in the thread: this import takes 0.1 s where nothing else has done it.
    from dockerapi.local.networks.conntrack import forget_flows

    forget_flows(ports)


def _element(forward: Forward) -> Element:
    """Return the element of an nft map that leads a port."""
    protocol = struct.pack("B", _PROTOCOLS[forward.protocol])
    key = [protocol, struct.pack(">H", forward.number)]
    if not forward.everywhere:
        key.insert(0, socket.inet_aton(forward.address))
    value = (socket.inet_aton(forward.target), struct.pack(">H", forward.target_port))
    return forward.map, key, value
