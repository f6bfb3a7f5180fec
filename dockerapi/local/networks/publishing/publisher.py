"""Published ports of sandboxes: held, led to their containers, withdrawn and let go.

Rule: a port is held before the kernel or a proxy leads it anywhere, and is let go after that has
ended; whatever fails half-way is undone by `withdraw` and `release`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Any

from twisted.logger import Logger

from dockerapi.local.networks.bridge import Bridge
from dockerapi.local.networks.publishing.holding import Held, Holding
from dockerapi.local.networks.publishing.tcp import TcpProxy
from dockerapi.local.networks.publishing.udp import UdpProxy
from dockerapi.local.networks.rules import Forward
from dockerapi.model.ports import PortRequest, PublishedPort


class Publisher:
    """Publishes the ports of containers on one bridge.

    The kernel leads what comes by IPv4; what comes by IPv6, to containers that have none, goes
    through a proxy in this process. So does IPv4 where the server makes no rules.
    """

    log = Logger()

    def __init__(self, reactor: Any, bridge: Bridge) -> None:
        self._reactor = reactor
        self._bridge = bridge
        self._holding = Holding()
        #: By sandbox; and the proxies among them.
        self._held: dict[str, list[Held]] = {}
        self._proxies: dict[Held, TcpProxy | UdpProxy] = {}

    def hold(
        self, sandbox: str, requests: Sequence[PortRequest], target: str
    ) -> tuple[PublishedPort, ...]:
        """Hold the ports that a sandbox wants for the container at `target`, all or none.

        Raises what `Holding.take` raises.
        """
        versions = (6,) if self._bridge.leads else (4, 6)
        held: list[Held] = []
        try:
            for request in requests:
                held += self._holding.take(request, accepting=versions, target=target)
        except BaseException:
            for one in held:
                self._holding.release(one)
            raise
        self._held[sandbox] = held
        return tuple(one.port for one in held)

    async def open(self, sandbox: str, target: str) -> None:
        """Lead the ports held for a sandbox to the address `target`; raises `EngineError`."""
        held = self._held.get(sandbox, [])
        await self._bridge.lead([forward(one.port, target) for one in held if self._is_led(one)])
        self._start_proxies(held, target)

    def restore(self, sandbox: str, ports: Iterable[PublishedPort], target: str) -> None:
        """Hold ports again that an earlier server published, with their proxies.

        A port that somebody else has taken meanwhile is led on, where the kernel leads it.
        """
        held = self._held[sandbox] = []
        for port in ports:
            accepting = not self._bridge.leads or ":" in port.address
            try:
                held.append(self._holding.take_again(port, accepting=accepting))
            except OSError as error:
                self.log.warn(
                    "cannot hold the port {number} of {address} again: {error}",
                    number=port.number,
                    address=port.address,
                    error=error,
                )
        self._start_proxies(held, target)

    async def withdraw(self, sandbox: str, ports: Iterable[PublishedPort], target: str) -> None:
        """Lead the ports of a sandbox nowhere any more; they stay held."""
        for held in self._held.get(sandbox, ()):
            proxy = self._proxies.pop(held, None)
            if proxy is not None:
                proxy.close()
        await self._bridge.unlead([forward(one, target) for one in ports if self._is_ipv4(one)])

    def release(self, sandbox: str) -> None:
        """Let go of the ports of a sandbox; nothing happens where it has none."""
        for held in self._held.pop(sandbox, ()):
            self._holding.release(held)

    def stop(self) -> None:
        """End what is in this process; what the kernel leads it leads on."""
        for proxy in self._proxies.values():
            proxy.close()
        self._proxies.clear()
        for sandbox in tuple(self._held):
            self.release(sandbox)

    def _start_proxies(self, held: Iterable[Held], target: str) -> None:
        for one in held:
            if not self._is_led(one):
                kind = TcpProxy if one.port.port.protocol == "tcp" else UdpProxy
                self._proxies[one] = kind(self._reactor, one.socket, target, one.port.port.number)

    def _is_led(self, held: Held) -> bool:
        return self._bridge.leads and self._is_ipv4(held.port)

    @staticmethod
    def _is_ipv4(port: PublishedPort) -> bool:
        return ip_address(port.address).version == 4


def forward(port: PublishedPort, target: str) -> Forward:
    """Return what the kernel is told of a port that leads to the container at `target`."""
    return Forward(port.port.protocol, port.address, port.number, target, port.port.number)


def forwards(ports: Iterable[PublishedPort], target: str) -> list[Forward]:
    """Return what the kernel is told of those of `ports` that it leads."""
    return [forward(one, target) for one in ports if ip_address(one.address).version == 4]
