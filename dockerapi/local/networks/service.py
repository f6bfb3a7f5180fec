"""Networks of the embedded engine: a sandbox for each container, on none, host or the bridge.

Rule: a sandbox is in the database before anyone may use it, and gone from there only after its
namespace; `start` brings the kernel and the database together again.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredLock
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
from dockerapi.local.networks.pool import Pool
from dockerapi.local.networks.records import NetworkRecord
from dockerapi.local.networks.sandbox import Endpoint, Sandbox
from dockerapi.local.store import Store
from dockerapi.model.networks import NetworkView

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
        #: Namespaces made ahead, by the name of their network.
        self._stock: dict[str, Pool[Prepared]] = {}
        self._mending = DeferredLock()

    def register(self, engine: Engine) -> None:
        """Register the handlers of the operations of the tag Network."""
        NetworkHandlers(self.views).register(engine)

    async def start(self) -> None:
        """Load what is kept, bring the bridge up and begin to make namespaces ahead.

        What the host lacks is no error here but noted in `problems`.
        """
        await self._store.write(self._load)
        try:
            self._plumbing = plumbing = await submit(self._thread, self._open)
            await self._reconcile_namespaces(plumbing)
            self._stock["none"] = self._pool(self._make_isolated)
        except OSError as error:
            self._problem("networks of containers need root and network namespaces", error)
            return
        try:
            await self._raise_bridge(plumbing)
        except (OSError, EngineError) as error:
            self._problem("the network bridge does not work", error)
        for pool in self._stock.values():
            pool.fill()

    async def stop(self) -> None:
        """Let go of what was made ahead; the bridge and its rules stay while containers use them.

        Containers and their namespaces stay.
        """
        left = [one for pool in self._stock.values() for one in await pool.close()]
        self._stock.clear()
        if self._plumbing is not None:
            await self._remove(one.path.name for one in left)
            used = any(endpoint.interface for endpoint in self._endpoints())
            if self._bridge is not None and not used:
                await self._bridge.down()
            await submit(self._thread, self._plumbing.close)
            self._plumbing = None
        self._thread.shutdown(wait=False)

    async def reconcile(self, living: Collection[str]) -> None:
        """Let go of the sandboxes of containers that are not among `living` (ids)."""
        await self._forget([one for one in self._sandboxes if one not in living])

    def sandbox(self, container_id: str) -> Sandbox | None:
        """Return the sandbox of a container, or None while it has none."""
        return self._sandboxes.get(container_id)

    async def connect(self, container_id: str, mode: str, *, name: str, hostname: str) -> Sandbox:
        """Give a container its sandbox and return it; the one that it has, where that still is.

        `mode` is ``none``, ``host``, or ``default`` or ``bridge`` (the bridge's id, too); `name`
        and `hostname` are the container's. Raises `NotFound` for another network, `EngineError`
        with a remedy where the host lacks something.
        """
        network = self._find(mode)
        present = self._sandboxes.get(container_id)
        if present is not None:
            if _intact(present) and present.endpoints[0].network == network.name:
                return present
            await self.disconnect(container_id)
        if network.name == "host":
            prepared = None
        else:
            prepared = await self._take(network.name)
        sandbox = _sandbox(container_id, name, network, prepared)
        try:
            await self._store.write(lambda connection: records.save_sandbox(connection, sandbox))
        except BaseException:
            # When given up, the transaction may have been made all the same.
            if prepared is not None:
                await self._remove([prepared.path.name])
            await self._delete([container_id])
            self._release([sandbox])
            raise
        self._sandboxes[container_id] = sandbox
        self._publish("connect", sandbox)
        return sandbox

    async def disconnect(self, container_id: str) -> None:
        """Let go of a container's sandbox; nothing happens where it has none.

        Its namespace dies with its last process, and its address is free.
        """
        await self._forget([container_id])

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
        await self._remove(pinned - known)

    async def _raise_bridge(self, plumbing: Plumbing) -> None:
        bridge = Bridge(self._settings, plumbing, self._thread)
        network = self._networks["bridge"]
        endpoints = [one for one in self._endpoints() if one.network == "bridge"]
        await bridge.up(network.address, [IPv4Address(one.ip) for one in endpoints])
        if bridge.address != network.address:
            network = NetworkRecord(
                network.id, network.name, network.driver, network.created, bridge.address
            )
            await self._store.write(lambda connection: records.save_network(connection, network))
            self._networks["bridge"] = network
        await submit(
            self._thread, plumbing.repair_links, {endpoint.interface for endpoint in endpoints}
        )
        self._bridge = bridge
        self._stock["bridge"] = self._pool(bridge.make)

    def _pool(self, make: Callable[[], Awaitable[Prepared]]) -> Pool[Prepared]:
        return Pool(self._reactor, make, self._settings.stock)

    async def _make_isolated(self) -> Prepared:
        assert self._plumbing is not None
        sandbox = secrets.token_hex(32)
        path = await submit(self._thread, self._plumbing.make_isolated, sandbox[:12])
        return Prepared(sandbox, path)

    async def _take(self, network: str) -> Prepared:
        stock = self._stock.get(network)
        if stock is None:
            raise EngineError("; ".join(self.problems) or "the networks are not started")
        try:
            prepared = await self._take_attached(stock)
        except OSError as error:
            raise EngineError(f"cannot make a network namespace: {error}") from error
        return prepared

    async def _take_attached(self, stock: Pool[Prepared]) -> Prepared:
        """Take a namespace; where the bridge was deleted behind our back, make it again first."""
        try:
            prepared = await stock.take()
        except OSError:
            if self._bridge is None or _is_link(self._settings.bridge):
                raise
            await self._mend(self._bridge)
            prepared = await stock.take()
        link, bridge = prepared.interface, self._bridge
        if bridge is not None and link and not _is_attached(link, self._settings.bridge):
            await self._mend(bridge, link)
        return prepared

    async def _mend(self, bridge: Bridge, *more: str) -> None:
        self.log.warn("the bridge {name} was changed; mending it", name=self._settings.bridge)
        links = {one.interface for one in self._endpoints() if one.interface}
        await self._mending.run(lambda: Deferred.fromCoroutine(bridge.mend(links | set(more))))

    def _find(self, mode: str) -> NetworkRecord:
        wanted = "bridge" if mode in ("", "default") else mode
        for network in self._networks.values():
            if wanted in (network.name, network.id):
                return network
        raise NotFound(f"network {mode} not found")

    async def _forget(self, containers: list[str]) -> None:
        """Remove the namespaces of `containers`, then their records; addresses are free then."""
        gone = [self._sandboxes[one] for one in containers if one in self._sandboxes]
        if not gone:
            return
        for sandbox in gone:
            del self._sandboxes[sandbox.container]
        await self._remove(one.path.name for one in gone if one.path is not None)
        await self._store.write(lambda connection: records.delete_sandboxes(connection, containers))
        for sandbox in gone:
            if self._bridge is not None:
                self._bridge.release(one.ip for one in sandbox.endpoints if one.ip)
            self._publish("disconnect", sandbox)

    async def _delete(self, containers: list[str]) -> None:
        await self._store.write(lambda connection: records.delete_sandboxes(connection, containers))

    def _release(self, sandboxes: Iterable[Sandbox]) -> None:
        if self._bridge is not None:
            for sandbox in sandboxes:
                self._bridge.release(one.ip for one in sandbox.endpoints if one.ip)

    async def _remove(self, pins: Iterable[str]) -> None:
        names = list(pins)
        if names and self._plumbing is not None:
            await submit(self._thread, self._plumbing.remove, names)

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


def _is_link(name: str) -> bool:
    return Path(f"/sys/class/net/{name}").exists()


def _is_attached(interface: str, bridge: str) -> bool:
    """Tell whether a link is on the bridge (a read of sysfs, some microseconds)."""
    try:
        return os.readlink(f"/sys/class/net/{interface}/master").endswith(f"/{bridge}")
    except OSError:
        return False


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
