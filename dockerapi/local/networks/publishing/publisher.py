"""Published ports of sandboxes: held, led to their containers, withdrawn and let go.

Rule: a port is held before the kernel or a proxy leads it anywhere, and is let go after that has
ended; whatever fails half-way is undone by `withdraw` and `release`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import attrs
from msgspec import structs
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import Logger

from dockerapi.engine.errors import EngineError
from dockerapi.local.networks.bridge import Bridge
from dockerapi.local.networks.publishing.descriptors import check_descriptors
from dockerapi.local.networks.publishing.holding import Held, Holding, PortAllocated
from dockerapi.local.networks.publishing.tcp import TcpProxy
from dockerapi.local.networks.publishing.udp import UdpProxy
from dockerapi.local.networks.rules import Forward
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.ports import PortRequest, PublishedPort

#: Seconds that a start waits for the ports of a container that has ended already.
_PATIENCE = 10.0


@attrs.define
class _Entry:
    """What is held for one sandbox, and whether it is about to be let go.

    :ivar waiting: those who want one of its ports then.
    """

    held: list[Held]
    leaving: bool = False
    waiting: list[Deferred[None]] = attrs.field(factory=list)


class Publisher:
    """Publishes the ports of containers on one bridge.

    The kernel leads what comes by IPv4; what comes by IPv6, to containers that have none, goes
    through a proxy in this process. So does IPv4 where the server makes no rules.
    """

    log = Logger()

    def __init__(self, reactor: Any, bridge: Bridge) -> None:
        self._reactor = reactor
        self._bridge = bridge
        self._holding = Holding(lambda: deferLater(reactor, 0))
        #: One searches at a time, so that two who want the same ports do not both fail.
        self._taking = DeferredLock()
        #: By sandbox; and the proxies among what is held.
        self._entries: dict[str, _Entry] = {}
        self._proxies: dict[Held, TcpProxy | UdpProxy] = {}

    async def hold(self, sandbox: Sandbox, requests: Sequence[PortRequest]) -> Sandbox:
        """Hold the ports that a sandbox wants, all or none, and return it with them.

        Raises `EngineError` in dockerd's words; ports of containers that are leaving are waited
        for.
        """
        while True:
            try:
                held = await self._take(requests, sandbox.address)
            except PortAllocated as allocated:
                if not await self._one_left(allocated):
                    raise _unconnected(sandbox, allocated) from None
            except EngineError as error:
                raise _unconnected(sandbox, error) from None
            else:
                self._entries[sandbox.id] = _Entry(held)
                return structs.replace(sandbox, ports=tuple(one.port for one in held))

    async def open(self, sandbox: Sandbox) -> None:
        """Lead the ports held for a sandbox to it; raises `EngineError`."""
        try:
            await self._bridge.lead(self._forwards(sandbox))
        except EngineError as error:
            raise _unconnected(sandbox, error) from None
        self._start_proxies(sandbox)

    def restore(self, sandbox: Sandbox) -> None:
        """Hold ports again that an earlier server published, with their proxies.

        A port that somebody else has taken meanwhile is led on, where the kernel leads it, and is
        given to no other container.
        """
        held: list[Held] = []
        for port in sandbox.ports:
            try:
                held.append(self._holding.take_again(port, accepting=not self._is_led(port)))
            except OSError as error:
                self.log.warn(
                    "cannot hold the port {number} of {address} again: {error}",
                    number=port.number,
                    address=port.address,
                    error=error,
                )
                held.append(self._holding.claim(port))
        self._entries[sandbox.id] = _Entry(held)
        self._start_proxies(sandbox)

    def announce(self, sandbox: Sandbox) -> None:
        """Tell that a sandbox is about to be taken down: whoever wants its ports waits then."""
        entry = self._entries.get(sandbox.id)
        if entry is not None:
            entry.leaving = True

    async def withdraw(self, sandbox: Sandbox) -> None:
        """Lead the ports of a sandbox nowhere any more; they stay held."""
        entry = self._entries.get(sandbox.id)
        for held in entry.held if entry is not None else ():
            proxy = self._proxies.pop(held, None)
            if proxy is not None:
                proxy.close()
        await self._bridge.unlead(self._forwards(sandbox))

    def release(self, sandbox: Sandbox) -> None:
        """Let go of the ports of a sandbox; nothing happens where it has none."""
        entry = self._entries.pop(sandbox.id, None)
        if entry is not None:
            for held in entry.held:
                self._holding.release(held)
            waiting, entry.waiting = entry.waiting, []
            for one in waiting:
                one.callback(None)

    def stop(self) -> None:
        """End what is in this process; what the kernel leads it leads on."""
        for proxy in self._proxies.values():
            proxy.close()
        self._proxies.clear()
        for entry in self._entries.values():
            for held in entry.held:
                self._holding.release(held)
        self._entries.clear()

    async def _take(self, requests: Sequence[PortRequest], target: str) -> list[Held]:
        check_descriptors(sum(len(request.addresses) for request in requests))
        versions = (6,) if self._bridge.leads else (4, 6)
        held: list[Held] = []
        async with self._taking:
            try:
                for request in requests:
                    held += await self._holding.take(request, accepting=versions, target=target)
            except BaseException:
                for one in held:
                    self._holding.release(one)
                raise
        return held

    async def _one_left(self, wanted: PortAllocated) -> bool:
        """Wait for a sandbox that is leaving and has a wanted port; return whether one left."""
        for entry in self._entries.values():
            if entry.leaving and any(wanted.may_be(one.port) for one in entry.held):
                left: Deferred[None] = Deferred(entry.waiting.remove)
                entry.waiting.append(left)
                left.addTimeout(_PATIENCE, self._reactor)
                try:
                    await left
                except TimeoutError:
                    return False
                return True
        return False

    def _start_proxies(self, sandbox: Sandbox) -> None:
        for held in self._entries[sandbox.id].held:
            if held.socket is not None and not self._is_led(held.port):
                port = held.port.port
                kind = TcpProxy if port.protocol == "tcp" else UdpProxy
                self._proxies[held] = kind(self._reactor, held.socket, sandbox.address, port.number)

    def _forwards(self, sandbox: Sandbox) -> list[Forward]:
        return forwards(sandbox) if self._bridge.leads else []

    def _is_led(self, port: PublishedPort) -> bool:
        return self._bridge.leads and ip_address(port.address).version == 4


def forwards(sandbox: Sandbox) -> list[Forward]:
    """Return what the kernel is told of the ports of a sandbox that it leads."""
    return [
        Forward(one.port.protocol, one.address, one.number, sandbox.address, one.port.number)
        for one in sandbox.ports
        if ip_address(one.address).version == 4
    ]


def _unconnected(sandbox: Sandbox, error: EngineError) -> EngineError:
    endpoint = sandbox.endpoints[0]
    return EngineError(
        "failed to set up container networking: driver failed programming external connectivity "
        f"on endpoint {endpoint.name} ({endpoint.id}): {error.message}"
    )
