"""Published ports: who reaches them, who does not, and that nothing is left of them."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.spawn import MissingProgram, find_program, run
from dockerapi.local.host.threads import in_thread
from dockerapi.local.networks import firewall
from dockerapi.local.networks.publishing import tcp
from dockerapi.local.networks.publishing.udp import UdpProxy
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.containers import PortBinding
from dockerapi.model.ports import Port, PortRequest, requested_ports
from tests.local.networks.support import BLOCKED, Outside, Rig, identity, inside, link, rules, until
from tests.local.networks.traffic import TCP, UDP, Echo, ask, reaches, talk


def request(address: str = "", port: str = "", inside: Port = TCP) -> list[PortRequest]:
    """Return what ``-p ADDRESS:PORT:INSIDE`` asks for."""
    binding = PortBinding(host_ip=address, host_port=port)
    return requested_ports((), {str(inside): [binding]}, publish_all=False)


class PublishingCase(TestCase):
    """Each test has networks of its own, and `outside` on a link of its own."""

    settings: Mapping[str, Any] = {}

    async def setUp(self) -> None:
        self.rig = Rig(**self.settings)
        await self.rig.start()
        self.addCleanup(self.rig.close)
        self.outside = Outside(self.rig.base)
        await in_thread(self.outside.open)
        self.addCleanup(self.outside.close)

    async def serve(self, number: int, requests: list[PortRequest]) -> Sandbox:
        """Connect a container with a server in it."""
        sandbox = await self.rig.connect(number, ports=requests)
        echo = await in_thread(Echo, sandbox)
        self.addCleanup(echo.close)
        return sandbox

    def out(self, fn: Callable[[], bytes | None]) -> Deferred[bytes | None]:
        """Call `fn` outside."""
        return inside(self.outside.pin, fn)


class ReachTests(PublishingCase):
    async def test_tcp_on_all_addresses(self) -> None:
        sandbox = await self.serve(1, request())
        number = sandbox.ports[0].number
        self.assertEqual([one.address for one in sandbox.ports], ["0.0.0.0", "::"])
        self.assertEqual({one.number for one in sandbox.ports}, {number})
        self.assertGreaterEqual(number, 32768)
        for address in ("127.0.0.1", "::1", self.outside.host, "127.9.9.9"):
            self.assertEqual(await in_thread(talk, address, number), b"hellobye", address)
        seen = await self.out(lambda: talk(self.outside.host, number))
        self.assertEqual(seen, b"hellobye")

    async def test_udp_on_all_addresses(self) -> None:
        sandbox = await self.serve(1, request(inside=UDP))
        number = sandbox.ports[0].number
        for address in ("127.0.0.1", "::1", self.outside.host):
            self.assertEqual(await in_thread(ask, address, number), b"hello", address)
        self.assertEqual(await self.out(lambda: ask(self.outside.host, number)), b"hello")

    async def test_a_client_of_udp_that_goes_on_reaches_the_next_container(self) -> None:
        sandbox = await self.rig.connect(1, ports=request(inside=UDP))
        number = sandbox.ports[0].number
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)

            def send() -> bool:
                # An error of the one before is told by what comes next.
                client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                client.sendto(b"hello", (self.outside.host, number))
                return bool(select.select([client], [], [], 0)[0])

            send()
            await self.rig.networks.disconnect(identity(1))
            send()
            await self.serve(2, request("", str(number), inside=UDP))
            await until(send)
            self.assertEqual(client.recv(99), b"hello")

    async def test_containers_reach_each_other_and_themselves_by_the_host(self) -> None:
        sandbox = await self.serve(1, request())
        other = await self.rig.connect(2)
        number, host = sandbox.ports[0].number, self.outside.host
        for pin in (sandbox.path, other.path):
            self.assertEqual(await inside(pin, lambda: talk(host, number)), b"hellobye")

    async def test_one_address_only(self) -> None:
        sandbox = await self.serve(1, request(self.outside.host))
        number, host = sandbox.ports[0].number, self.outside.host
        self.assertEqual(await self.out(lambda: talk(host, number)), b"hellobye")
        self.assertIsNone(await in_thread(talk, "127.0.0.1", number, patience=BLOCKED))

    async def test_loopback_only(self) -> None:
        sandbox = await self.serve(1, request("127.0.0.1"))
        number, host = sandbox.ports[0].number, self.outside.host
        self.assertEqual(await in_thread(talk, "127.0.0.1", number), b"hellobye")
        self.assertIsNone(await self.out(lambda: talk(host, number, patience=BLOCKED)))
        # A neighbour sends to 127.0.0.1 by the link itself.
        await self.neighbour_of_loopback(self.outside.pin, "eth0", host)
        self.assertIsNone(await self.out(lambda: talk("127.0.0.1", number, patience=BLOCKED)))

    async def test_containers_do_not_reach_the_hosts_loopback(self) -> None:
        sandbox = await self.serve(1, request("127.0.0.1"))
        other = await self.rig.connect(2)
        assert other.path is not None
        number, gateway = sandbox.ports[0].number, other.endpoints[0].gateway
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        listening = listener.getsockname()[1]
        self.assertIsNone(await inside(other.path, lambda: talk(gateway, number, patience=BLOCKED)))
        await self.neighbour_of_loopback(other.path, "eth0", gateway)
        for port in (number, listening):
            reached = await inside(other.path, partial(reaches, "127.0.0.1", port))
            self.assertFalse(reached, port)

    async def test_not_published(self) -> None:
        sandbox = await self.serve(1, request("127.0.0.1", inside=UDP))
        self.assertIsNone(
            await self.out(lambda: talk(sandbox.address, TCP.number, patience=BLOCKED))
        )
        self.assertIsNone(
            await self.out(lambda: ask(sandbox.address, UDP.number, patience=BLOCKED))
        )

    async def neighbour_of_loopback(self, pin: Path, name: str, gateway: str) -> None:
        """Have a namespace send what is for 127.0.0.1 to `gateway`, instead of to itself."""
        enter = [find_program("nsenter"), f"--net={pin}", find_program("ip")]
        setting = Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet")
        await inside(pin, lambda: setting.write_text("1") and None)
        for words in (
            "rule add pref 1 lookup local",
            "rule del pref 0",
            "rule add pref 0 to 127.0.0.1 lookup 7",
            f"route add 127.0.0.1 via {gateway} dev {name} table 7",
        ):
            ended = await run([*enter, *words.split()])
            self.assertEqual(ended.status, 0, ended.stderr)


class IptablesTests(PublishingCase):
    """Where nft is not installed."""

    async def setUp(self) -> None:
        def find(name: str) -> str:
            if name == "nft":
                raise MissingProgram(name)
            return find_program(name)

        self.patch(firewall, "find_program", find)
        await super().setUp()

    async def test_published_and_withdrawn(self) -> None:
        sandbox = await self.serve(1, request() + request("127.0.0.1", inside=UDP))
        number, host = sandbox.ports[0].number, self.outside.host
        for address in ("127.0.0.1", "::1", host):
            self.assertEqual(await in_thread(talk, address, number), b"hellobye", address)
        self.assertEqual(await self.out(lambda: talk(host, number)), b"hellobye")
        self.assertEqual(await inside(sandbox.path, lambda: talk(host, number)), b"hellobye")
        local = sandbox.ports[2].number
        self.assertEqual(await in_thread(ask, "127.0.0.1", local), b"hello")
        self.assertIsNone(await self.out(lambda: ask(host, local, patience=BLOCKED)))
        await self.rig.networks.disconnect(identity(1))
        self.assertNotIn(f"to:{sandbox.address}", (await rules()).replace("dnat to ", "to:"))

    async def test_after_a_crash(self) -> None:
        sandbox = await self.serve(1, request())
        await self.rig.crash()
        await self.rig.start()
        number = sandbox.ports[0].number
        self.assertEqual(await in_thread(talk, "127.0.0.1", number), b"hellobye")
        listing = await run([find_program("iptables"), "-w", "5", "-t", "nat", "-S", "OUTPUT"])
        self.assertEqual(listing.stdout.count(f":{TCP.number}\n".encode()), 1)


class NoRulesTests(PublishingCase):
    """Where the server makes no rules (dockerd's ``iptables: false``)."""

    settings = {"firewall": False}

    async def test_everything_goes_through_a_proxy(self) -> None:
        sandbox = await self.serve(1, request() + request(inside=UDP))
        for address in ("127.0.0.1", "::1"):
            number = sandbox.ports[0].number
            self.assertEqual(await in_thread(talk, address, number), b"hellobye", address)
            number = sandbox.ports[2].number
            self.assertEqual(await in_thread(ask, address, number), b"hello", address)


class ProxyTests(PublishingCase):
    async def test_a_large_stream_with_its_half_close(self) -> None:
        sandbox = await self.serve(1, request("::1"))
        data = os.urandom(1 << 20) * 8
        found = await in_thread(talk, "::1", sandbox.ports[0].number, data)
        self.assertEqual(found, data + b"bye")

    async def test_a_client_that_reads_nothing_stops_the_container(self) -> None:
        sandbox = await self.serve(1, request("::1"))
        client = socket.create_connection(("::1", sandbox.ports[0].number))
        self.addCleanup(client.close)
        client.settimeout(0.5)

        def fill() -> int:
            sent = 0
            try:
                while sent < 1 << 28:
                    sent += client.send(bytes(1 << 16))
            except TimeoutError:
                return sent
            return sent

        # What fits into the kernel's buffers on the way, and not all of it.
        self.assertLess(await in_thread(fill), 1 << 27)

    async def test_nobody_listens(self) -> None:
        sandbox = await self.rig.connect(1, ports=request("::1"))
        self.assertEqual(await in_thread(talk, "::1", sandbox.ports[0].number) or b"", b"")

    async def test_no_more_than_so_many_clients(self) -> None:
        self.patch(tcp, "_CLIENTS", 3)
        sandbox = await self.serve(1, request("::1"))
        number = sandbox.ports[0].number

        def connect() -> socket.socket:
            client = socket.create_connection(("::1", number), timeout=60)
            client.send(b"x")
            return client

        clients = []
        for _ in range(3):
            clients.append(await in_thread(connect))
            self.assertEqual(await in_thread(clients[-1].recv, 9), b"x")
        # The kernel lets them in; they are heard when others have gone.
        clients += [await in_thread(connect), await in_thread(connect)]
        for client in clients:
            self.addCleanup(client.close)
        clients[3].settimeout(BLOCKED)
        with self.assertRaises(TimeoutError):
            await in_thread(clients[3].recv, 9)
        for client in clients[:2]:
            client.close()
        for client in clients[3:]:
            client.settimeout(60)
            self.assertEqual(await in_thread(client.recv, 9), b"x")
        # It ends also while it accepts nobody.
        await self.rig.networks.disconnect(identity(1))
        with self.assertRaises(ConnectionResetError):
            await in_thread(clients[4].recv, 9)

    async def test_a_container_that_cannot_be_reached_is_no_error(self) -> None:
        sandbox = await self.serve(1, request("::1", inside=UDP))
        within = [find_program("nsenter"), f"--net={sandbox.path}", find_program("nft")]
        rule = (
            "table ip t { chain c { type filter hook input priority 0; udp dport 53 "
            "reject with icmp type admin-prohibited; }; }"
        )
        self.assertEqual((await run([*within, rule])).status, 0)
        client = ("::1", 9)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as bound:
            bound.bind(("::1", 0))
            proxy = UdpProxy(reactor, bound, sandbox.address, 53)
            self.addCleanup(proxy.close)
        # The refusal is there before the call returns, and the reactor has not seen it yet.
        proxy.datagramReceived(b"x", client)
        proxy._sessions[client].doRead()
        self.assertIn(client, proxy._sessions)

    async def test_its_clients_end_with_the_container(self) -> None:
        sandbox = await self.serve(1, request("::1"))
        client = socket.create_connection(("::1", sandbox.ports[0].number))
        self.addCleanup(client.close)
        client.settimeout(60)
        client.send(b"x")
        self.assertEqual(await in_thread(client.recv, 9), b"x")
        await self.rig.networks.disconnect(identity(1))
        with self.assertRaises(ConnectionResetError):
            await in_thread(client.recv, 9)


class HoldingTests(PublishingCase):
    async def test_what_a_container_has_is_not_given_twice(self) -> None:
        first = await self.rig.connect(1, ports=request())
        number = first.ports[0].number
        for address in ("", "127.0.0.1", "::1"):
            failure = await self.refused(request(address, str(number)))
            self.assertIn(f":{number} failed: port is already allocated", failure)
            self.assertIn("driver failed programming external connectivity on endpoint", failure)
        await self.rig.networks.disconnect(identity(1))
        again = await self.rig.connect(2, ports=request("", str(number)))
        self.assertEqual(again.ports[0].number, number)

    async def test_what_somebody_else_has(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            number = listener.getsockname()[1]
            failure = await self.refused(request("", str(number)))
            self.assertIn(f"failed to bind host port for 0.0.0.0:{number}:", failure)
            self.assertIn("/tcp: address already in use", failure)
        self.assertNotIn(f". {number} :", _published(await rules(), self.rig.settings.bridge))

    async def test_others_cannot_take_it(self) -> None:
        sandbox = await self.rig.connect(1, ports=request() + request(inside=UDP))
        for one in sandbox.ports:
            kind = socket.SOCK_STREAM if one.port.protocol == "tcp" else socket.SOCK_DGRAM
            family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
            with socket.socket(family, kind) as other:
                if kind == socket.SOCK_STREAM:
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with self.assertRaises(OSError) as caught:
                    other.bind((one.address, one.number))
                self.assertEqual(caught.exception.errno, errno.EADDRINUSE)

    async def test_the_first_free_one_of_a_range(self) -> None:
        with socket.create_server(("0.0.0.0", 0)) as listener:
            number = listener.getsockname()[1]
            wanted = f"{number}-{number + 20}"
            sandbox = await self.rig.connect(1, ports=request("", wanted))
            self.assertIn(sandbox.ports[0].number, range(number + 1, number + 21))

    async def test_a_range_without_a_free_one(self) -> None:
        sandbox = await self.rig.connect(1, ports=request())
        number = sandbox.ports[0].number
        failure = await self.refused([PortRequest(TCP, ("0.0.0.0",), number, number)] * 2)
        self.assertIn("port is already allocated", failure)

    async def test_an_address_that_the_host_has_not(self) -> None:
        failure = await self.refused(request("192.0.2.77"))
        self.assertIn("cannot assign requested address", failure)

    async def test_many_at_once(self) -> None:
        starts = [Deferred.fromCoroutine(self.rig.connect(n, ports=request())) for n in range(20)]
        sandboxes = await gatherResults(starts, consumeErrors=True)
        self.assertEqual(len({one.ports[0].number for one in sandboxes}), 20)
        found = await rules()
        for one in sandboxes:
            self.assertIn(f"tcp . {one.ports[0].number} : {one.address} . 80", found)

    async def test_the_server_answers_while_many_are_taken(self) -> None:
        """1,500 ports take a while: others have their turn all the time."""
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        # As the server has it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(4096, limits[0]), limits[1]))
        longest = _LongestTurn()
        self.addCleanup(longest.stop)
        wish = [PortRequest(Port(1 + n), ("127.0.0.1",)) for n in range(1500)]
        sandbox = await self.rig.connect(1, ports=wish)
        self.assertEqual(len({one.number for one in sandbox.ports}), 1500)
        self.assertIn(f": {sandbox.address} . 1500 ", f"{await rules()} ".replace(",", " "))
        await self.rig.networks.disconnect(identity(1))
        self.assertNotIn(f": {sandbox.address} . ", await rules())
        self.assertLess(longest.stop(), 2.0)

    async def test_more_than_the_server_may_have_open(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, limits[1]))
        wish = [PortRequest(Port(1 + n), ("0.0.0.0", "::")) for n in range(200)]
        with self.assertRaises(EngineError) as caught:
            await self.rig.connect(1, ports=wish)
        self.assertIn("they need 400 descriptors", caught.exception.message)
        self.assertIn("of at most 400 in use", caught.exception.message)

    async def test_who_wants_the_port_of_one_that_is_leaving_waits(self) -> None:
        first = await self.rig.connect(1, ports=request())
        number = str(first.ports[0].number)
        self.rig.networks.leaving(identity(1))
        waiting = Deferred.fromCoroutine(self.rig.connect(2, ports=request("", number)))
        self.assertFalse(waiting.called)
        await self.rig.networks.disconnect(identity(1))
        self.assertEqual(str((await waiting).ports[0].number), number)

    async def refused(self, requests: list[PortRequest]) -> str:
        """Return why a container with these ports cannot be connected; it leaves nothing."""
        bridge = self.rig.settings.bridge
        before = _published(await rules(), bridge)
        with self.assertRaises(EngineError) as caught:
            await self.rig.connect(99, ports=requests)
        self.assertIsNone(self.rig.networks.sandbox(identity(99)))
        self.assertEqual(_published(await rules(), bridge), before)
        return caught.exception.message


class _LongestTurn:
    """Measures how long others wait for the reactor, in seconds."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._last = time.monotonic()
        self._call = LoopingCall(self._tick)
        self._call.start(0.005)

    def _tick(self) -> None:
        now = time.monotonic()
        self._longest = max(self._longest, now - self._last)
        self._last = now

    def stop(self) -> float:
        """End, and return the longest."""
        if self._call.running:
            self._tick()
            self._call.stop()
        return self._longest


class UndoTests(PublishingCase):
    async def test_nothing_is_left(self) -> None:
        sandbox = await self.serve(1, request() + request(inside=UDP))
        await self.rig.networks.disconnect(identity(1))
        found = _published(await rules(), self.rig.settings.bridge)
        for one in sandbox.ports:
            self.assertNotIn(f". {one.number} :", found)
            kind = socket.SOCK_STREAM if one.port.protocol == "tcp" else socket.SOCK_DGRAM
            family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
            with socket.socket(family, kind) as free:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                free.bind((one.address, one.number))

    async def test_given_up(self) -> None:
        for turn in range(4):
            start = Deferred.fromCoroutine(self.rig.connect(turn, ports=request("", "0")))
            if not start.called:
                start.addErrback(lambda _: None)
                start.cancel()
            await start
        await self.rig.networks.reconcile(())
        self.assertNotIn(": 10.", _published(await rules(), self.rig.settings.bridge))

    async def test_the_table_is_gone(self) -> None:
        await run([find_program("nft"), "delete", "table", "ip", self.rig.settings.bridge])
        sandbox = await self.serve(1, request())
        self.assertEqual(await in_thread(talk, "127.0.0.1", sandbox.ports[0].number), b"hellobye")


class RestartTests(PublishingCase):
    async def test_after_a_crash(self) -> None:
        sandbox = await self.serve(1, request() + request("127.0.0.1", inside=UDP))
        ended = await self.rig.connect(2, ports=request())
        await self.rig.crash()
        await self.rig.start()
        await self.rig.networks.reconcile([identity(1)])
        self.assertEqual(self.rig.networks.sandbox(identity(1)), sandbox)
        number = sandbox.ports[0].number
        for address in ("127.0.0.1", "::1"):
            self.assertEqual(await in_thread(talk, address, number), b"hellobye", address)
        self.assertEqual(await in_thread(ask, "127.0.0.1", sandbox.ports[2].number), b"hello")
        taken = str(number)
        with self.assertRaises(EngineError):
            await self.rig.connect(3, ports=request("", taken))
        found = _published(await rules(), self.rig.settings.bridge)
        self.assertEqual(found.count(f"tcp . {number} :"), 1)
        self.assertNotIn(f"tcp . {ended.ports[0].number} :", found)
        again = await self.rig.connect(2, ports=request("", str(ended.ports[0].number)))
        self.assertEqual(again.ports, ended.ports)

    async def test_what_somebody_else_took_meanwhile_is_given_to_no_other(self) -> None:
        sandbox = await self.rig.connect(1, ports=request())
        number = sandbox.ports[0].number
        await self.rig.crash()
        with socket.create_server(("127.0.0.1", number)):
            await self.rig.start()
            await self.rig.networks.reconcile([identity(1)])
        # It could be bound now.
        with self.assertRaises(EngineError) as caught:
            await self.rig.connect(2, ports=request("", str(number)))
        self.assertIn(f":{number} failed: port is already allocated", caught.exception.message)
        others = [await self.rig.connect(other, ports=request()) for other in (2, 3)]
        self.assertNotIn(number, [one.number for other in others for one in other.ports])
        await self.rig.networks.disconnect(identity(1))
        await self.rig.connect(1, ports=request("", str(number)))


class SharedTests(PublishingCase):
    async def test_a_namespace_that_others_joined_loses_its_link(self) -> None:
        sandbox = await self.rig.connect(1)
        self.assertEqual(self.rig.networks.share(identity(1)), sandbox)
        assert sandbox.path is not None
        kept = os.open(sandbox.path, os.O_RDONLY)
        try:
            await self.rig.networks.disconnect(identity(1))
            self.assertIsNone(await in_thread(link, sandbox.endpoints[0].interface))
        finally:
            os.close(kept)

    async def test_nothing_to_share(self) -> None:
        self.assertIsNone(self.rig.networks.share(identity(1)))


def _published(ruleset: str, bridge: str) -> str:
    """Return the maps of one table."""
    return ruleset.partition(f"table ip {bridge} ")[2].partition("chain lead")[0]
