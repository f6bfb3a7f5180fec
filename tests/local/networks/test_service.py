"""Networks with real namespaces, links and rules."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from dockerapi.engine.errors import EngineError, NotFound
from dockerapi.engine.events import Event
from dockerapi.local.host.mounting import unmount_all
from dockerapi.local.host.spawn import find_program
from dockerapi.local.host.syscalls import MountFlag, mount
from dockerapi.local.host.threads import in_thread
from dockerapi.local.networks import netlink, records
from dockerapi.local.networks.firewall import Firewall
from dockerapi.local.networks.namespaces import remove_namespace
from dockerapi.local.networks.netlink import Link, Netlink
from dockerapi.local.networks.plumbing import Plumbing
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.ports import Port, PortRequest
from tests.local.networks.support import (
    Networked,
    Rig,
    identity,
    inside,
    link,
    pause,
    peer_seen,
    rules,
    until,
)

_SIOCGIFHWADDR = 0x8927


@attrs.frozen
class Seen:
    """What a container sees of its network."""

    links: tuple[Link, ...]
    addresses: tuple[str, ...]
    mac: str
    ipv6_off: str
    default: str


def look() -> Seen:
    kernel = Netlink()
    try:
        links = kernel.links()
        connected = any(one.name == "eth0" for one in links)
        return Seen(
            links=tuple(links),
            addresses=tuple(str(one) for one in kernel.addresses()),
            mac=mac_of("eth0") if connected else "",
            ipv6_off=setting("ipv6/conf/eth0/disable_ipv6") if connected else "",
            default=default_route(),
        )
    finally:
        kernel.close()


def mac_of(name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        answer = fcntl.ioctl(one, _SIOCGIFHWADDR, struct.pack("256s", name.encode()))
    return answer[18:24].hex(":")


def setting(name: str) -> str:
    return Path("/proc/sys/net", name).read_text().strip()


def default_route() -> str:
    for line in Path("/proc/thread-self/net/route").read_text().splitlines()[1:]:
        name, target, gateway = line.split()[:3]
        if target == "00000000":
            return f"{IPv4Address(bytes.fromhex(gateway)[::-1])} {name}"
    return ""


class BridgeTests(Networked):
    async def test_what_a_container_sees(self) -> None:
        rig = await self.started()
        sandbox = await rig.connect(1)
        (endpoint,) = sandbox.endpoints
        seen = await inside(sandbox.path, look)
        self.assertEqual(
            sorted(seen.addresses),
            sorted(["127.0.0.1/8", f"{endpoint.ip}/{endpoint.prefix_length}"]),
        )
        self.assertEqual([one.name for one in seen.links if one.name != "lo"], ["eth0"])
        self.assertEqual(seen.mac, endpoint.mac)
        self.assertEqual(seen.default, f"{endpoint.gateway} eth0")
        self.assertEqual(seen.ipv6_off, "1")
        self.assertEqual(endpoint.network, "bridge")
        self.assertEqual(sandbox.path, rig.layout.netns / sandbox.id[:12])

    async def test_a_hardware_address_of_its_own(self) -> None:
        rig = await self.started()
        mac = "02:42:0a:00:00:77"
        sandbox = await rig.networks.connect(
            identity(1), "bridge", name="c1", hostname="c1", mac=mac
        )
        self.assertEqual(sandbox.endpoints[0].mac, mac)
        self.assertEqual(await inside(sandbox.path, lambda: mac_of("eth0")), mac)

    async def test_names_and_ports_as_dockerd_allows(self) -> None:
        rig = await self.started()
        sandbox = await rig.connect(1)
        lowest = await inside(sandbox.path, lambda: setting("ipv4/ip_unprivileged_port_start"))
        groups = await inside(sandbox.path, lambda: setting("ipv4/ping_group_range"))
        self.assertEqual((lowest, groups.split()), ("0", ["0", "2147483647"]))

    async def test_the_subnet_is_none_of_the_hosts(self) -> None:
        rig = await self.started()
        endpoint = (await rig.connect(1)).endpoints[0]
        network = IPv4Network((endpoint.ip, endpoint.prefix_length), strict=False)
        bridge = link(rig.settings.bridge)
        assert bridge is not None
        kernel = Netlink()
        self.addCleanup(kernel.close)
        others = [route for route, index in kernel.routes() if index != bridge.index]
        self.assertFalse([route for route in others if route.overlaps(network)])

    async def test_containers_kept_apart(self) -> None:
        rig = await self.started(communicate=False)
        if Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
            one, other = await rig.connect(1), await rig.connect(2)
            self.assertIsNone(await peer_seen(one.path, other.path, one.endpoints[0].ip))
            self.assertIsNotNone(await peer_seen(one.path, None, one.endpoints[0].ip))

    async def test_host_and_containers_reach_each_other(self) -> None:
        rig = await self.started()
        one, other = await rig.connect(1), await rig.connect(2)
        address, gateway = one.endpoints[0].ip, one.endpoints[0].gateway
        self.assertEqual(await peer_seen(one.path, None, address), gateway)
        self.assertEqual(await peer_seen(one.path, other.path, address), other.endpoints[0].ip)
        self.assertEqual(await peer_seen(None, one.path, gateway), address)

    async def test_masquerade(self) -> None:
        rig = await self.started()
        outside = self.outside(rig)
        sandbox = await rig.connect(1)
        seen = await peer_seen(outside.pin, sandbox.path, outside.address)
        self.assertEqual(seen, outside.host)

    async def test_not_reachable_from_outside(self) -> None:
        rig = await self.started()
        outside = self.outside(rig)
        sandbox = await rig.connect(1)
        # Its route to the container's address goes through this host, which forwards.
        seen = await peer_seen(sandbox.path, outside.pin, sandbox.endpoints[0].ip)
        self.assertIsNone(seen)

    async def test_bip(self) -> None:
        rig = await self.started(bip="10.213.99.9/28")
        endpoint = (await rig.connect(1)).endpoints[0]
        self.assertEqual((endpoint.gateway, endpoint.prefix_length), ("10.213.99.9", 28))
        self.assertIn(IPv4Address(endpoint.ip), IPv4Network("10.213.99.0/28"))

    async def test_iptables_alone(self) -> None:
        iptables = find_program("iptables")
        self.patch(Firewall, "find", classmethod(lambda cls: cls(None, iptables)))
        rig = await self.started()
        outside = self.outside(rig)
        sandbox = await rig.connect(1)
        address = sandbox.endpoints[0].ip
        self.assertEqual(await peer_seen(outside.pin, sandbox.path, outside.address), outside.host)
        self.assertIsNone(await peer_seen(sandbox.path, outside.pin, address))
        self.assertIsNotNone(await peer_seen(sandbox.path, None, address))
        await rig.networks.disconnect(identity(1))
        await rig.stop()
        self.assertNotIn(rig.settings.bridge, await rules())
        await rig.start()


class SandboxTests(Networked):
    async def test_none(self) -> None:
        rig = await self.started()
        sandbox = await rig.connect(1, "none")
        seen = await inside(sandbox.path, look)
        self.assertEqual([one.name for one in seen.links], ["lo"])
        self.assertEqual(seen.addresses, ("127.0.0.1/8",))
        self.assertEqual(sandbox.endpoints[0].network, "none")

    async def test_host(self) -> None:
        rig = await self.started()
        sandbox = await rig.connect(1, "host")
        self.assertIsNone(sandbox.path)
        self.assertEqual([one.network for one in sandbox.endpoints], ["host"])

    async def test_no_such_network(self) -> None:
        rig = await self.started()
        await self.assertFailure(Deferred.fromCoroutine(rig.connect(1, "nosuch")), NotFound)

    async def test_twice_is_harmless(self) -> None:
        rig = await self.started()
        first = await rig.connect(1)
        self.assertEqual(await rig.connect(1), first)
        await rig.networks.disconnect(identity(1))
        await rig.networks.disconnect(identity(1))
        self.assertIsNone(rig.networks.sandbox(identity(1)))
        await rig.connect(1, "none")
        self.assertEqual((await rig.connect(1, "host")).path, None)

    async def test_a_lost_namespace_is_made_again(self) -> None:
        rig = await self.started()
        first = await rig.connect(1)
        assert first.path is not None
        remove_namespace(first.path)
        second = await rig.connect(1)
        self.assertNotEqual(second.path, first.path)
        await inside(second.path, look)

    async def test_many_at_once_have_different_addresses(self) -> None:
        rig = await self.started(stock=2)
        made: list[Sandbox] = await gatherResults(
            [Deferred.fromCoroutine(rig.connect(number)) for number in range(12)]
        )
        self.assertEqual(len({one.endpoints[0].ip for one in made}), 12)
        self.assertEqual(len({one.path for one in made}), 12)

    async def test_links_die_with_the_namespace(self) -> None:
        rig = await self.started()
        sandbox = await rig.connect(1)
        name = sandbox.endpoints[0].interface
        self.assertIsNotNone(link(name))
        await rig.networks.disconnect(identity(1))
        await until(lambda: link(name) is None)

    async def test_links_die_though_somebody_holds_the_namespace(self) -> None:
        rig = await self.started(stock=0, bip="10.213.98.1/29")
        sandbox = await rig.connect(1)
        copy = rig.base / "copy"
        copy.mkdir()
        # As `mount --rbind / /elsewhere` would: what is mounted inside is copied.
        mount(rig.base, copy, flags=MountFlag.BIND | MountFlag.REC)
        try:
            await rig.networks.disconnect(identity(1))
            self.assertIsNone(link(sandbox.endpoints[0].interface))
            await rig.crash()
            await rig.start()
            again = await rig.connect(2)
            self.assertEqual(again.endpoints[0].ip, sandbox.endpoints[0].ip)
        finally:
            unmount_all(copy)
        await rig.networks.disconnect(identity(2))
        await rig.crash()
        await rig.start()
        self.assertEqual(await rig.pins(), [])

    async def test_a_record_that_cannot_be_written_leaves_nothing(self) -> None:
        rig = await self.started(stock=0, bip="10.213.98.1/29")

        def fail(*_: object) -> None:
            raise OSError("disk full")

        patch = self.patch(records, "save_sandbox", fail)
        for number in range(8):
            await self.assertFailure(Deferred.fromCoroutine(rig.connect(number)), OSError)
        self.assertEqual(await rig.pins(), [])
        patch.restore()
        await rig.connect(1)

    async def test_what_cannot_be_taken_down_is_taken_down_later(self) -> None:
        # Seven addresses: one that is lost would be missing in the end.
        rig = await self.started(stock=0, bip="10.213.97.1/29")
        first = await rig.connect(1, ports=[PortRequest(Port(80), ("0.0.0.0",))])
        number = first.ports[0].number
        patch = self.patch(Plumbing, "remove", _fail)
        for _ in range(2):
            await self.assertFailure(
                Deferred.fromCoroutine(rig.networks.disconnect(identity(1))), OSError
            )
        self.assertIsNone(rig.networks.sandbox(identity(1)))
        wish = [PortRequest(Port(80), ("0.0.0.0",), number, number)]
        await self.assertFailure(Deferred.fromCoroutine(rig.connect(2, ports=wish)), EngineError)
        self.flushLoggedErrors(OSError)
        patch.restore()
        # The container itself comes again,
        again = await rig.connect(1, ports=wish)
        self.assertEqual([one.number for one in again.ports], [number])
        # or another one goes.
        await rig.networks.disconnect(identity(2))
        await rig.networks.disconnect(identity(1))
        self.assertEqual(await rig.pins(), [])
        for container in range(3, 8):
            await rig.connect(container)

    async def test_a_start_that_cannot_be_undone_tells_why_it_failed(self) -> None:
        rig = await self.started(stock=0)

        def full(*_: object) -> None:
            raise OSError("full")

        self.patch(records, "save_sandbox", full)
        patch = self.patch(Plumbing, "remove", _fail)
        failure = await self.assertFailure(Deferred.fromCoroutine(rig.connect(1)), OSError)
        self.assertEqual(str(failure), "full")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        patch.restore()
        await rig.networks.reconcile(())
        self.assertEqual(await rig.pins(), [])

    async def test_given_up_while_it_is_made(self) -> None:
        """Whenever that is, neither a namespace nor one of the five addresses is lost."""
        rig = await self.started(stock=0, bip="10.213.96.1/29")
        for turn in range(12):
            connecting = Deferred.fromCoroutine(rig.connect(1))
            connecting.addErrback(lambda _: None)
            await pause(0.002 * turn)
            connecting.cancel()
            await connecting
            await rig.networks.disconnect(identity(1))
        for number in range(5):
            await rig.connect(number)
        # What was made for one that gave up is there for the next.
        self.assertEqual(len(await rig.pins()), 5)

    async def test_events(self) -> None:
        rig = await self.started()
        seen = rig.engine.events.subscribe(lambda _: True)
        sandbox = await rig.connect(1)
        await rig.networks.disconnect(identity(1))
        for action in ("connect", "disconnect"):
            event = await seen.next()
            assert isinstance(event, Event)
            self.assertEqual(
                (event.type, event.action, event.actor, dict(event.attributes)),
                (
                    "network",
                    action,
                    sandbox.endpoints[0].network_id,
                    {"container": identity(1), "name": "bridge", "type": "bridge"},
                ),
            )


def _fail(*_: object) -> None:
    raise OSError("busy")


class RestartTests(Networked):
    async def test_after_a_crash(self) -> None:
        rig = await self.started()
        living, dead = await rig.connect(1), await rig.connect(2, "none")
        await pause(0.2)
        await rig.crash()
        assert living.path is not None
        assert dead.path is not None
        await rig.start()
        await rig.networks.reconcile([identity(1)])
        self.assertEqual(rig.networks.sandbox(identity(1)), living)
        self.assertIsNone(rig.networks.sandbox(identity(2)))
        self.assertFalse(dead.path.exists())
        address = living.endpoints[0].ip
        self.assertIsNotNone(await peer_seen(living.path, None, address))
        self.assertNotEqual((await rig.connect(3)).endpoints[0].ip, address)
        # What the crashed server had made ahead is gone: only what belongs to someone is there.
        await rig.networks.disconnect(identity(3))
        await rig.stop()
        self.assertEqual(await rig.pins(), [living.path.name])
        await rig.start()

    async def test_a_lost_bridge_is_made_again(self) -> None:
        rig = await self.started()
        outside = self.outside(rig)
        sandbox = await rig.connect(1)
        await rig.crash()
        bridge = link(rig.settings.bridge)
        assert bridge is not None
        kernel = Netlink()
        self.addCleanup(kernel.close)
        kernel.execute(netlink.delete_link(bridge.index))
        await rig.start()
        self.assertEqual(rig.networks.problems, [])
        await pause(0.1)
        self.assertEqual(await peer_seen(outside.pin, sandbox.path, outside.address), outside.host)

    async def test_a_bridge_that_somebody_deletes_is_mended(self) -> None:
        rig = await self.started()
        outside = self.outside(rig)
        before = await rig.connect(1)
        kernel = Netlink()
        self.addCleanup(kernel.close)
        for number in range(2, 9):
            # The first takes what was made ahead on the old bridge, the last is made anew.
            if number in (2, 8):
                bridge = link(rig.settings.bridge)
                assert bridge is not None
                kernel.execute(netlink.delete_link(bridge.index))
            await rig.connect(number)
        await pause(0.1)
        last = await rig.connect(9)
        for sandbox in (before, last):
            seen = await peer_seen(outside.pin, sandbox.path, outside.address)
            self.assertEqual(seen, outside.host)

    async def test_after_a_reboot(self) -> None:
        rig = await self.started()
        sandbox = await rig.connect(1)
        await rig.crash()
        for name in await rig.pins():
            remove_namespace(rig.layout.netns / name)
        await rig.start()
        self.assertIsNone(rig.networks.sandbox(identity(1)))
        again = await rig.connect(1)
        self.assertNotEqual(again.id, sandbox.id)

    async def test_the_network_is_the_same(self) -> None:
        rig = await self.started()
        before = rig.networks.views()
        await rig.stop()
        await rig.start()
        self.assertEqual(rig.networks.views(), before)

    async def test_stop_leaves_nothing(self) -> None:
        rig = await self.started()
        name = rig.settings.bridge
        self.assertIn(name, await rules())
        await rig.connect(1)
        await rig.networks.disconnect(identity(1))
        await rig.stop()
        self.assertNotIn(name, await rules())
        self.assertIsNone(link(name))
        self.assertEqual(await rig.pins(), [])
        await rig.start()

    async def test_stop_keeps_what_containers_use(self) -> None:
        rig = await self.started()
        sandbox = await rig.connect(1)
        await rig.stop()
        self.assertIn(rig.settings.bridge, await rules())
        address = sandbox.endpoints[0].ip
        self.assertIsNotNone(await peer_seen(sandbox.path, None, address))
        await rig.start()

    async def test_other_rules_stay(self) -> None:
        before = await rules()
        rig = Rig()
        await rig.start()
        await rig.stop()
        self.assertEqual(_foreign(await rules()), _foreign(before))
        await rig.start()
        await rig.close()


def _foreign(text: str) -> list[str]:
    """Return the lines of a rule set without what servers like ours have, and without counters."""
    lines, ours = [], False
    for line in text.splitlines():
        if line.startswith("table "):
            ours = line.split()[2].startswith(("dnt", "dct", "da-", "dockerapi"))
        if not ours and not re.search(r'"(?:dnt|dct|da-|dockerapi)', line):
            lines.append(line.partition(" counter ")[0])
    return lines


class LackingTests(TestCase):
    timeout = 120

    async def test_a_bridge_that_cannot_be(self) -> None:
        rig = Rig(bridge="not a name")
        await rig.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(rig.close()))
        self.assertIn("not a name", rig.networks.problems[0])
        with self.assertRaises(EngineError) as refused:
            await rig.connect(1)
        self.assertIn("not a name", refused.exception.message)
        self.assertIsNotNone((await rig.connect(1, "none")).path)

    async def test_without_firewall(self) -> None:
        def missing() -> Firewall:
            raise EngineError("install the package nftables")

        self.patch(Firewall, "find", missing)
        rig = Rig()
        await rig.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(rig.close()))
        with self.assertRaises(EngineError) as refused:
            await rig.connect(1)
        self.assertIn("nftables", refused.exception.message)
        self.assertIsNone(link(rig.settings.bridge))

    async def test_rules_that_fail_leave_nothing(self) -> None:
        self.patch(Firewall, "find", classmethod(lambda cls: cls(find_program("false"), None)))
        rig = Rig()
        await rig.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(rig.close()))
        self.assertIn("failed (status 1)", rig.networks.problems[0])
        self.assertIsNone(link(rig.settings.bridge))

    async def test_bad_bip(self) -> None:
        rig = Rig(bip="10.0.0.1")
        await rig.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(rig.close()))
        self.assertIn("10.0.0.1", rig.networks.problems[0])


class DescriptorTests(Networked):
    async def test_none_is_left_open(self) -> None:
        rig = await self.started(stock=1)

        async def cycle() -> None:
            await rig.connect(1)
            await rig.networks.disconnect(identity(1))
            await pause(0.15)

        def held() -> int:
            return len(os.listdir("/proc/self/fd"))

        await cycle()
        before = await in_thread(held)
        for _ in range(3):
            await cycle()
        # One is made ahead again, and has some open for a moment.
        while await in_thread(held) > before:
            await pause(0.02)
