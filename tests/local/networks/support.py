"""Networks on a bridge of their own, and a namespace that stands for the outside."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Sequence
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from dockerapi.engine.engine import Engine
from dockerapi.engine.events import Event
from dockerapi.engine.job import Job
from dockerapi.local.host.spawn import find_program, run
from dockerapi.local.host.threads import in_thread
from dockerapi.local.layout import Layout
from dockerapi.local.networks import netlink
from dockerapi.local.networks.bridge import NetworkSettings
from dockerapi.local.networks.namespaces import in_namespace, make_namespace, remove_namespace
from dockerapi.local.networks.netlink import Link, Netlink
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.local.networks.service import Networks
from dockerapi.local.networks.subnets import AddressPool
from dockerapi.local.store import Store
from dockerapi.model.envelope import Envelope
from dockerapi.model.ports import PortRequest
from dockerapi.model.versions import NEWEST, Version

T = TypeVar("T")
#: Seconds after which a connection counts as blocked.
BLOCKED = 0.7


class Rig:
    """The networks of one engine, on directories and a bridge of their own."""

    def __init__(self, **settings: Any) -> None:
        if os.geteuid() != 0:
            raise SkipTest("networks need root")
        self.base = Path(tempfile.mkdtemp(prefix="dockerapi-networks-"))
        self.layout = Layout(self.base / "data", self.base / "run")
        self.layout.make()
        # A subnet for which no other engine, nor another run of these tests, has rules.
        subnet = IPv4Network((0x0AD60000 + 256 * random.randrange(1 << 12), 24))
        own = {"bridge": f"dnt{secrets.token_hex(4)}", "pools": (AddressPool(subnet, 24),)}
        self.settings = NetworkSettings(**own | settings)
        self.engine = Engine(logging=False)
        self.engine.activation.activate()
        self.events: list[Event] = []

    async def start(self) -> None:
        """Start the networks; again after `stop` or `crash`, as a new server would."""
        self.store = Store.open(self.layout.database)
        self.networks = Networks(self.store, self.layout, self.engine, self.settings, reactor)
        await self.networks.start()

    async def stop(self) -> None:
        """Stop the networks as a server that ends."""
        await self.networks.stop()
        await self.store.close()

    async def crash(self) -> None:
        """Leave everything as it is, as after kill -9."""
        await self.networks._stock.close()
        if self.networks._publisher is not None:
            # The kernel closes the sockets of a process that dies.
            self.networks._publisher.stop()
        self.networks._thread.shutdown()
        await self.store.close()

    async def close(self) -> None:
        """Let go of every container and stop; nothing is left behind."""
        await self.networks.reconcile(())
        await self.stop()
        shutil.rmtree(self.base)

    async def connect(
        self, number: int, mode: str = "default", ports: Sequence[PortRequest] = ()
    ) -> Sandbox:
        """Connect a container whose id is made of `number`."""
        name = f"c{number}"
        return await self.networks.connect(
            identity(number), mode, name=name, hostname=name, ports=ports
        )

    async def pins(self) -> list[str]:
        """Return what lies where namespaces are pinned."""
        return sorted(path.name for path in self.layout.netns.iterdir())

    async def job(self, name: str, *args: str, query: str = "", version: Version = NEWEST) -> Any:
        """Run an operation and return its answer."""
        envelope = Envelope(query=query)
        return await Job(self.engine, name, args, envelope=envelope, version=version).run()


def identity(number: int) -> str:
    """Return a container's id."""
    return f"{number:064x}"


async def rules() -> str:
    """Return all rules and chains of this host, as text."""
    nft = await run([find_program("nft"), "list", "ruleset"])
    return nft.stdout.decode()


def link(name: str) -> Link | None:
    """Return a link of this host."""
    host = Netlink()
    try:
        return host.link(name)
    finally:
        host.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait up to a minute for `condition`, for what the kernel does on its own."""
    for _ in range(6000):
        if condition():
            return
        await pause(0.01)
    raise AssertionError("it did not come true")


async def pause(seconds: float) -> None:
    """Wait."""
    waiting: Deferred[None] = deferLater(reactor, seconds)
    await waiting


def inside(pin: Path | None, fn: Callable[[], T]) -> Deferred[T]:
    """Call `fn` in a thread in the namespace pinned at `pin`; None is the host's."""
    return in_thread(fn if pin is None else lambda: in_namespace(pin, fn))


async def peer_seen(server: Path | None, client: Path | None, address: str) -> str | None:
    """Connect from `client` to `address`, an address of `server`.

    Returns the address from which the server saw it come; None when it was blocked.
    """

    def listen() -> socket.socket:
        listener = socket.create_server((address, 0))
        listener.settimeout(BLOCKED)
        return listener

    listener = await inside(server, listen)
    target = listener.getsockname()
    accepting = in_thread(listener.accept)

    def connect() -> bool:
        try:
            socket.create_connection(target, timeout=BLOCKED).close()
        except OSError:
            return False
        return True

    try:
        connected = await inside(client, connect)
        accepted, address_seen = await accepting
    except TimeoutError:
        return None
    finally:
        listener.close()
    accepted.close()
    return str(address_seen[0]) if connected else None


class Outside:
    """A namespace on a link of its own to this host, as if it were another one.

    :ivar host: the address of this host there, and `address` its own.
    """

    def __init__(self, directory: Path) -> None:
        self.pin = directory / "outside"
        network = IPv4Network((0xC6120000 + 4 * random.randrange(1 << 15), 30))
        self.host, self.address = (str(one) for one in network.hosts())
        self._name = f"dno{secrets.token_hex(4)}"

    def open(self) -> None:
        """Make it; its only route to containers is through this host."""
        within, descriptor = make_namespace(
            self.pin, lambda: (Netlink(), os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        )
        host = Netlink()
        try:
            mac = "02:00:00:00:00:01"
            host.execute(netlink.new_veth(self._name, 0, 1500, "eth0", mac, descriptor))
            here, there = host.link(self._name), within.link("eth0")
            assert here is not None
            assert there is not None
            host.execute(netlink.new_address(here.index, IPv4Interface(f"{self.host}/30")))
            gateway = IPv4Interface(f"{self.host}/30").ip
            within.execute(
                netlink.set_link(1),
                netlink.set_link(there.index),
                netlink.new_address(there.index, IPv4Interface(f"{self.address}/30")),
                netlink.new_default_route(there.index, gateway),
            )
        finally:
            host.close()
            within.close()
            os.close(descriptor)

    def close(self) -> None:
        """Remove it."""
        remove_namespace(self.pin)


class Networked(TestCase):
    """A case whose engines are removed with all that they made."""

    timeout = 120

    async def started(self, **settings: object) -> Rig:
        rig = Rig(**settings)
        await rig.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(rig.close()))
        if rig.networks.problems:
            raise SkipTest(rig.networks.problems[0])
        return rig

    def outside(self, rig: Rig) -> Outside:
        outside = Outside(rig.base)
        outside.open()
        self.addCleanup(outside.close)
        return outside
