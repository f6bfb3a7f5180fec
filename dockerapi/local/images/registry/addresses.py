"""Which addresses a registry's host, and what it refers to, may have; and connecting to them.

Rule: names are resolved here, once, and only addresses that were checked are connected to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from twisted.internet.address import IPv4Address as TCP4
from twisted.internet.address import IPv6Address as TCP6
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from dockerapi.engine.errors import Forbidden

Address = IPv4Address | IPv6Address
Allowed = Callable[[Address], bool]


def is_loopback(address: Address) -> bool:
    """Tell whether `address` is this host's own (the unspecified ones connect to it too)."""
    plain = _plain(address)
    return plain.is_loopback or plain.is_unspecified


def is_internal(address: Address) -> bool:
    """Tell whether `address` is link-local, where clouds keep their metadata, or no single host."""
    plain = _plain(address)
    return (
        plain.is_link_local
        or plain.is_multicast
        or any(plain in network for network in _METADATA if network.version == plain.version)
    )


#: Of Amazon, Alibaba, Oracle and Azure, where they are not link-local.
_METADATA = tuple(
    map(ip_network, ("fd00:ec2::/32", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
#: Addresses of IPv6 whose last 32 bits a gateway, or the host, takes for one of IPv4.
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


def _plain(address: Address) -> Address:
    """Return the address of IPv4 that `address` stands for, or itself."""
    if not isinstance(address, IPv6Address):
        return address
    within = address.ipv4_mapped or address.sixtofour
    if within is None and int(address) > 1 and any(address in known for known in _TRANSLATED):
        within = IPv4Address(int(address) & 0xFFFFFFFF)
    return within or address


def literal(host: str) -> Address | None:
    """Return the address that `host` is, or None for a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def is_insecure(host: str, port: int | None, configured: Sequence[str]) -> bool:
    """Tell whether a registry need not have a certificate: loopback, and what is `configured`.

    `configured` holds ``HOST``, ``HOST:PORT`` and networks in CIDR form.
    """
    address = literal(host)
    if host == "localhost" or (address is not None and is_loopback(address)):
        return True
    for item in configured:
        if item in (host, f"{host}:{port}"):
            return True
        if "/" in item and address is not None:
            try:
                if address in ip_network(item, strict=False):
                    return True
            except ValueError:
                continue  # No network: it names another host.
    return False


@implementer(IResolutionReceiver)
class _Gatherer:
    def __init__(self, done: Deferred[list[IAddress]]) -> None:
        self._done = done
        self._found: list[IAddress] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Start with nothing."""

    def addressResolved(self, address: IAddress) -> None:
        self._found.append(address)

    def resolutionComplete(self) -> None:
        self._done.callback(self._found)


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """Connects to a host at its first address that is allowed and answers."""

    def __init__(
        self, reactor: Any, host: str, port: int, allowed: Allowed, timeout: float = 30.0
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._allowed = allowed
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fails with `Forbidden` where no address is allowed."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        resolver: IHostnameResolver = self._reactor.nameResolver
        done: Deferred[list[IAddress]] = Deferred()
        resolver.resolveHostName(_Gatherer(done), self._host.strip("[]"), self._port)
        found = [address for address in await done if isinstance(address, TCP4 | TCP6)]
        if not found:
            raise DNSLookupError(f"lookup {self._host}: no such host")
        usable = [a for a in found if self._allowed(ip_address(a.host.partition("%")[0]))]
        if not usable:
            raise Forbidden(f"connecting to {self._host} ({found[0].host}) is not allowed")
        for address in usable[:-1]:
            try:
                protocol: IProtocol = await self._endpoint(address).connect(factory)
                return protocol
            except ConnectError:
                continue  # The next address may answer.
        last: Deferred[IProtocol] = self._endpoint(usable[-1]).connect(factory)
        return await last

    def _endpoint(self, address: TCP4 | TCP6) -> Any:
        kind = TCP4ClientEndpoint if isinstance(address, TCP4) else TCP6ClientEndpoint
        return kind(self._reactor, address.host, self._port, timeout=self._timeout)
