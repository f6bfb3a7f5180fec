"""Networks of the embedded engine: a sandbox for each container, on none, host or the bridge.

Rule: a sandbox is in the database before anyone may use it, and gone from there only after its
namespace; `start` brings the kernel and the database together again.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from msgspec import structs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError, NotFound
from dockerapi.engine.events import Event
from dockerapi.local.host.threads import submit
from dockerapi.local.layout import Layout
from dockerapi.local.networks import records
from dockerapi.local.networks.bridge import Bridge, NetworkSettings, Prepared
from dockerapi.local.networks.handlers import NetworkHandlers, view
from dockerapi.local.networks.namespaces import is_pinned
from dockerapi.local.networks.publishing.publisher import Publisher, forwards
from dockerapi.local.networks.records import NetworkRecord
from dockerapi.local.networks.sandbox import Endpoint, Sandbox
from dockerapi.local.networks.stock import Stock
from dockerapi.local.store import Store
from dockerapi.model.networks import NetworkView
from dockerapi.model.ports import PortRequest

if TYPE_CHECKING:
    from dockerapi.local.networks.plumbing import Plumbing

#: The predefined networks and their drivers.
_PREDEFINED = {"none": "null", "host": "host", "bridge": "bridge"}


class Networks:
    """The networks service; containers come and go by `connect` and `disconnect`.

    :ivar problems: why containers cannot have a network of their own here, or not on the bridge;
        for `Warnings` of ``/info``.
    """

    log = Logger()

    def __init__(
        self,
        store: Store,
        layout: Layout,
        engine: Engine,
        settings: NetworkSettings,
        reactor: IReactorTime,
    ) -> None:
        self.problems: list[str] = []
        self._store = store
        self._pins = layout.netns
        self._events = engine.events
        self._settings = settings
        self._reactor = reactor
        self._thread = ThreadPoolExecutor(1, "dockerapi-network")
        self._plumbing: Plumbing | None = None
        self._bridge: Bridge | None = None
        self._networks: dict[str, NetworkRecord] = {}
        self._sandboxes: dict[str, Sandbox] = {}
        #: Those that could not be taken down: what they have is not free before that succeeds.
        self._stuck: dict[str, Sandbox] = {}
        self._stock = Stock(reactor, settings, self._thread, self._links)
        self._publisher: Publisher | None = None
        #: Containers whose namespaces others have joined.
        self._shared: set[str] = set()

    def register(self, engine: Engine) -> None:
        """Register the handlers of the operations of the tag Network."""
        NetworkHandlers(self.views, engine.events).register(engine)

    async def start(self) -> None:
        """Load what is kept, bring the bridge up and begin to make namespaces ahead.

        What the host lacks is no error here but noted in `problems`.
        """
        await self._store.write(self._load, essential=True)
        try:
            self._plumbing = plumbing = await submit(self._thread, self._open)
            await self._reconcile_namespaces(plumbing)
            self._stock.add_isolated(plumbing)
        except OSError as error:
            self._problem("networks of containers need root and network namespaces", error)
            return
        try:
            await self._raise_bridge(plumbing)
        except (OSError, EngineError) as error:
            self._problem("the network bridge does not work", error)
        self._stock.fill()

    async def stop(self) -> None:
        """Let go of what was made ahead; the bridge and its rules stay while containers use them.

        Containers and their namespaces stay.
        """
        left = await self._stock.close()
        if self._publisher is not None:
            self._publisher.stop()
        if self._plumbing is not None:
            await self._remove({one.path.name: [one.interface] for one in left})
            if self._bridge is not None and not self._links():
                await self._bridge.down()
            await submit(self._thread, self._plumbing.close)
            self._plumbing = None
        self._thread.shutdown(wait=False)

    async def reconcile(self, living: Collection[str]) -> None:
        """Let go of the sandboxes of containers that are not among `living` (ids)."""
        known = (*self._sandboxes, *self._stuck)
        await self._forget([one for one in known if one not in living])

    def sandbox(self, container_id: str) -> Sandbox | None:
        """Return the sandbox of a container, or None while it has none."""
        return self._sandboxes.get(container_id)

    def share(self, container_id: str) -> Sandbox | None:
        """Return the sandbox of a container for another that joins it; None while it has none.

        The namespace then outlives its container, without its links: its address may be given to
        others.
        """
        sandbox = self._sandboxes.get(container_id)
        if sandbox is not None:
            self._shared.add(container_id)
        return sandbox

    def leaving(self, container_id: str) -> None:
        """Tell that a container has ended and is about to be disconnected.

        Whoever wants one of its ports waits for that, instead of failing.
        """
        sandbox = self._sandboxes.get(container_id)
        if sandbox is not None and self._publisher is not None:
            self._publisher.announce(sandbox)

    async def connect(
        self,
        container_id: str,
        mode: str,
        *,
        name: str,
        hostname: str,
        ports: Sequence[PortRequest] = (),
        mac: str = "",
        link_local: Sequence[str] = (),
    ) -> Sandbox:
        """Give a container its sandbox and return it; the one that it has, where that still is.

        `mode` is ``none``, ``host``, or ``default`` or ``bridge`` (the bridge's id, too); `name`
        and `hostname` are the container's; `ports` are published where the network has addresses,
        and its link has the hardware address `mac` and the addresses `link_local` there.
        Raises `NotFound` for another network, `EngineError` with a remedy where the host lacks
        something, and in dockerd's words where a port cannot be published.
        """
        network = self._find(mode)
        present = self._sandboxes.get(container_id)
        if present is not None:
            same = present.endpoints[0].network == network.name
            if same and _intact(present) and not (ports or present.ports):
                return present
        await self._forget([container_id])
        if network.name == "host":
            prepared = None
        else:
            prepared = await self._take(network.name)
        sandbox = _sandbox(container_id, name, network, prepared)
        sandbox = structs.replace(sandbox, host=self._host_address())
        try:
            if (mac or link_local) and sandbox.address and self._bridge is not None:
                sandbox = await self._bridge.adjust(sandbox, mac, link_local)
            if ports and sandbox.address and self._publisher is not None:
                sandbox = await self._publisher.hold(sandbox, ports)
            await self._save(sandbox)
        except BaseException:
            # When given up, the transaction may have been made all the same.
            await self._undo(sandbox)
            raise
        self._sandboxes[container_id] = sandbox
        self._publish("connect", sandbox)
        return sandbox

    async def _save(self, sandbox: Sandbox) -> None:
        await self._store.write(lambda connection: records.save_sandbox(connection, sandbox))
        if sandbox.ports and self._publisher is not None:
            await self._publisher.open(sandbox)

    def _host_address(self) -> str:
        address = self._bridge.address if self._bridge is not None else None
        return str(address.ip) if address is not None else ""

    async def disconnect(self, container_id: str) -> None:
        """Let go of a container's sandbox; nothing happens where it has none.

        Its namespace dies with its last process, and its address is free. Where that fails, it is
        tried again when the next one goes, or when the container comes again.
        """
        stuck = tuple(self._stuck)
        await self._forget([container_id])
        for one in stuck:
            try:
                await self._forget([one])
            except Exception:
                self.log.failure("the sandbox of {id} is still there", id=one)

    def find(self, reference: str) -> NetworkRecord | None:
        """Return the network with this name or id; None where there is none."""
        for network in self._networks.values():
            if reference in (network.name, network.id):
                return network
        return None

    def views(self) -> list[NetworkView]:
        """Return every network as the API tells of it."""
        return [
            view(network, self._settings, self._sandboxes.values())
            for network in self._networks.values()
        ]

    def _load(self, connection: sqlite3.Connection) -> None:
        known = {network.name: network for network in records.load_networks(connection)}
        for name, driver in _PREDEFINED.items():
            if name not in known:
                network = NetworkRecord(secrets.token_hex(32), name, driver, time.time_ns())
                records.save_network(connection, network)
                known[name] = network
        self._networks = known
        loaded = records.load_sandboxes(connection, known.values(), self._pins)
        self._sandboxes = {sandbox.container: sandbox for sandbox in loaded}

    def _open(self) -> Plumbing:
        # Here, in the thread: this import takes 0.1 s.
        from dockerapi.local.networks.plumbing import Plumbing

        return Plumbing(self._settings.bridge, self._settings.mtu, self._pins)

    async def _reconcile_namespaces(self, plumbing: Plumbing) -> None:
        """Forget sandboxes whose namespace is gone; remove namespaces that belong to none."""
        pinned = await submit(self._thread, plumbing.pinned)
        await self._forget([id for id, one in self._sandboxes.items() if not _intact(one)])
        known = {one.path.name for one in self._sandboxes.values() if one.path is not None}
        # Their links are told from those that are known when the bridge is raised.
        await self._remove(dict.fromkeys(pinned - known, ()))

    async def _raise_bridge(self, plumbing: Plumbing) -> None:
        bridge = Bridge(self._settings, plumbing, self._thread)
        network = self._networks["bridge"]
        endpoints = [one for one in self._endpoints() if one.network == "bridge"]
        publishing = [one for one in self._sandboxes.values() if one.ports]
        await bridge.up(
            network.address,
            [IPv4Address(one.ip) for one in endpoints],
            [led for one in publishing for led in forwards(one)],
        )
        if bridge.address != network.address:
            network = NetworkRecord(
                network.id, network.name, network.driver, network.created, bridge.address
            )
            await self._store.write(lambda connection: records.save_network(connection, network))
            self._networks["bridge"] = network
        await submit(self._thread, plumbing.repair_links, self._links())
        self._bridge = bridge
        self._publisher = Publisher(self._reactor, bridge)
        for sandbox in publishing:
            self._publisher.restore(sandbox)
        self._stock.add_connected(bridge)

    async def _take(self, network: str) -> Prepared:
        prepared = await self._stock.take(network)
        if prepared is None:
            raise EngineError("; ".join(self.problems) or "the networks are not started")
        return prepared

    def _links(self) -> set[str]:
        return {one.interface for one in self._endpoints() if one.interface}

    def _find(self, mode: str) -> NetworkRecord:
        network = self.find("bridge" if mode in ("", "default") else mode)
        if network is None:
            raise NotFound(f"network {mode} not found")
        return network

    async def _forget(self, containers: list[str]) -> None:
        """Take down the sandboxes of `containers`; what they had is free then."""
        found = (self._sandboxes.get(one) or self._stuck.pop(one, None) for one in containers)
        gone = [sandbox for sandbox in found if sandbox is not None]
        if not gone:
            return
        try:
            await self._take_down(gone)
        except BaseException:
            self._stuck |= {sandbox.container: sandbox for sandbox in gone}
            raise
        finally:
            for sandbox in gone:
                self._sandboxes.pop(sandbox.container, None)
        for sandbox in gone:
            self._shared.discard(sandbox.container)
            self._publish("disconnect", sandbox)

    async def _undo(self, sandbox: Sandbox) -> None:
        """Take down what was not finished; its caller raises why."""
        try:
            await self._take_down([sandbox])
        except Exception:
            self._stuck[sandbox.container] = sandbox
            self.log.failure("what was made for {id} is still there", id=sandbox.container)

    async def _take_down(self, sandboxes: list[Sandbox]) -> None:
        """Remove namespaces, then records, then let go of ports and addresses."""
        for sandbox in sandboxes:
            await self._withdraw(sandbox)
        await self._remove(
            {
                one.path.name: [each.interface for each in one.endpoints]
                for one in sandboxes
                if one.path is not None
            }
        )
        containers = [sandbox.container for sandbox in sandboxes]
        await self._store.write(
            lambda connection: records.delete_sandboxes(connection, containers), essential=True
        )
        for sandbox in sandboxes:
            if self._publisher is not None:
                self._publisher.release(sandbox)
            if self._bridge is not None:
                self._bridge.release(one.ip for one in sandbox.endpoints if one.ip)

    async def _withdraw(self, sandbox: Sandbox) -> None:
        """Lead nothing to a sandbox any more, nor to its address in a namespace that stays."""
        if sandbox.ports and self._publisher is not None:
            try:
                await self._publisher.withdraw(sandbox)
            except EngineError:
                self.log.failure("ports of {id} were not withdrawn", id=sandbox.container)
        links = [one.interface for one in sandbox.endpoints if one.interface]
        if sandbox.container in self._shared and links and self._plumbing is not None:
            await submit(self._thread, self._plumbing.cut, links)

    async def _remove(self, pins: Mapping[str, Collection[str]]) -> None:
        """Let go of namespaces, given with their links."""
        if pins and self._plumbing is not None:
            await submit(self._thread, self._plumbing.remove, pins)

    def _endpoints(self) -> Iterable[Endpoint]:
        return (one for sandbox in self._sandboxes.values() for one in sandbox.endpoints)

    def _problem(self, what: str, error: Exception) -> None:
        self.problems.append(f"{what}: {error}")
        self.log.warn("{what}: {error}", what=what, error=str(error))

    def _publish(self, action: str, sandbox: Sandbox) -> None:
        for endpoint in sandbox.endpoints:
            kind = self._networks[endpoint.network].driver
            attributes = {"container": sandbox.container, "name": endpoint.network, "type": kind}
            self._events.publish(Event("network", action, endpoint.network_id, attributes))


def _intact(sandbox: Sandbox) -> bool:
    return sandbox.path is None or is_pinned(sandbox.path)


def _sandbox(
    container: str, name: str, network: NetworkRecord, prepared: Prepared | None
) -> Sandbox:
    endpoint = Endpoint(network.name, network.id, secrets.token_hex(32), name)
    if prepared is None:
        return Sandbox(secrets.token_hex(32), container, None, (endpoint,))
    if prepared.address is not None and network.address is not None:
        endpoint = Endpoint(
            network=network.name,
            network_id=network.id,
            id=endpoint.id,
            name=name,
            ip=str(prepared.address.ip),
            prefix_length=prepared.address.network.prefixlen,
            gateway=str(network.address.ip),
            mac=prepared.mac,
            interface=prepared.interface,
        )
    return Sandbox(prepared.sandbox, container, prepared.path, (endpoint,))
