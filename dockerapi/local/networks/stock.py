"""Namespaces made ahead for each network, and a bridge that is mended when one is taken.

Rule: whoever takes one gets one that works, whatever somebody else did to the bridge meanwhile.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.threads import submit
from dockerapi.local.networks.bridge import Bridge, NetworkSettings, Prepared
from dockerapi.local.networks.pool import Pool

if TYPE_CHECKING:
    from dockerapi.local.networks.plumbing import Plumbing


class Stock:
    """Namespaces that wait for their containers."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        settings: NetworkSettings,
        thread: ThreadPoolExecutor,
        links: Callable[[], set[str]],
    ) -> None:
        """Make an empty one; `links` returns the links of all containers on the bridge."""
        self._reactor = reactor
        self._settings = settings
        self._thread = thread
        self._links = links
        self._bridge: Bridge | None = None
        #: By the name of their network.
        self._pools: dict[str, Pool[Prepared]] = {}
        self._mending = DeferredLock()

    def add_isolated(self, plumbing: Plumbing) -> None:
        """Keep namespaces for ``none``, too."""

        async def make() -> Prepared:
            sandbox = secrets.token_hex(32)
            path = await submit(self._thread, plumbing.make_isolated, sandbox[:12])
            return Prepared(sandbox, path)

        self._pools["none"] = Pool(self._reactor, make, self._settings.stock)

    def add_connected(self, bridge: Bridge) -> None:
        """Keep namespaces on `bridge`, too."""
        self._bridge = bridge
        self._pools["bridge"] = Pool(self._reactor, bridge.make, self._settings.stock)

    def fill(self) -> None:
        """Begin to make what is missing."""
        for pool in self._pools.values():
            pool.fill()

    async def close(self) -> list[Prepared]:
        """Make no more, and return what is left."""
        left = [one for pool in self._pools.values() for one in await pool.close()]
        self._pools.clear()
        return left

    async def take(self, network: str) -> Prepared | None:
        """Return a namespace for a container on `network`; None where there are none.

        Raises `EngineError` where it cannot be made.
        """
        pool = self._pools.get(network)
        if pool is None:
            return None
        try:
            return await self._take_attached(pool)
        except OSError as error:
            raise EngineError(f"cannot make a network namespace: {error}") from error

    async def _take_attached(self, pool: Pool[Prepared]) -> Prepared:
        """Take a namespace; where the bridge was deleted behind our back, make it again first."""
        try:
            prepared = await pool.take()
        except OSError:
            if self._bridge is None or _is_link(self._settings.bridge):
                raise
            await self._mend(self._bridge)
            prepared = await pool.take()
        link, bridge = prepared.interface, self._bridge
        if bridge is not None and link and not _is_attached(link, self._settings.bridge):
            await self._mend(bridge, link)
        return prepared

    async def _mend(self, bridge: Bridge, *more: str) -> None:
        self.log.warn("the bridge {name} was changed; mending it", name=self._settings.bridge)
        links = self._links() | set(more)
        await self._mending.run(lambda: Deferred.fromCoroutine(bridge.mend(links)))


def _is_link(name: str) -> bool:
    return Path(f"/sys/class/net/{name}").exists()


def _is_attached(interface: str, bridge: str) -> bool:
    """Tell whether a link is on the bridge (a read of sysfs, some microseconds)."""
    try:
        return os.readlink(f"/sys/class/net/{interface}/master").endswith(f"/{bridge}")
    except OSError:
        return False
