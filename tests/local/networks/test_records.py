"""What the store has of networks, with rows that are damaged."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from ipaddress import IPv4Interface
from pathlib import Path

from twisted.trial.unittest import TestCase

from dockerapi.local.networks import records
from dockerapi.local.networks.records import NetworkRecord
from dockerapi.local.networks.sandbox import Endpoint, Sandbox
from dockerapi.local.store import Store
from dockerapi.model.ports import Port, PublishedPort

BRIDGE = NetworkRecord("a" * 64, "bridge", "bridge", 1, IPv4Interface("10.1.2.1/24"))
ENDPOINT = Endpoint(
    network="bridge",
    network_id=BRIDGE.id,
    id="b" * 64,
    name="one",
    ip="10.1.2.9",
    prefix_length=24,
    gateway="10.1.2.1",
    mac="02:42:0a:01:02:09",
    interface="veth1",
)
PORT = PublishedPort(Port(80, "tcp"), "0.0.0.0", 8080)
PINS = Path("/pins")
SANDBOX = Sandbox("c" * 64, "d" * 64, PINS / "x", (ENDPOINT,), (PORT,), "10.1.2.1")


class DamageTests(TestCase):
    async def setUp(self) -> None:
        self.path = Path(self.mktemp())
        await Store.open(self.path).close()
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        self.connection = connection
        with connection:
            records.save_network(connection, BRIDGE)
            records.save_sandbox(connection, SANDBOX)

    def loaded(self, statement: str = "") -> Sandbox:
        """Return the sandbox as it is read after `statement`, which is undone."""
        with closing(self.connection.cursor()) as cursor:
            cursor.execute("PRAGMA foreign_keys = OFF")
            cursor.execute("BEGIN")
            if statement:
                cursor.execute(statement)
            networks = records.load_networks(self.connection)
            (sandbox,) = records.load_sandboxes(self.connection, networks, PINS)
            self.connection.rollback()
        return sandbox

    def test_what_is_whole_is_read_as_it_was(self) -> None:
        self.assertEqual(self.loaded(), SANDBOX)

    def test_endpoints_that_are_damaged_are_left_out(self) -> None:
        for damage in ("network = 'junk'", "address = '10.1.2.x'"):
            sandbox = self.loaded(f"UPDATE endpoints SET {damage}")
            self.assertEqual((sandbox.endpoints, sandbox.ports), ((), (PORT,)), damage)

    def test_ports_that_are_damaged_are_left_out(self) -> None:
        for damage in ("number = -7", "number = 65536", "container_port = 0", "protocol = 'x'"):
            try:
                sandbox = self.loaded(f"UPDATE ports SET {damage}")
            except sqlite3.IntegrityError:
                # The schema keeps that out.
                self.connection.rollback()
                continue
            self.assertEqual((sandbox.endpoints, sandbox.ports), ((ENDPOINT,), ()), damage)

    def test_what_belongs_to_no_sandbox_is_free(self) -> None:
        self.connection.execute("PRAGMA foreign_keys = OFF")
        with self.connection:
            self.connection.execute("UPDATE sandboxes SET id = 'junk', container = 'junk'")
            (junk,) = records.load_sandboxes(self.connection, [BRIDGE], PINS)
            other = Sandbox("e" * 64, "d" * 64, PINS / "y", (ENDPOINT,), (PORT,), "10.1.2.1")
            records.save_sandbox(self.connection, other)
            loaded = records.load_sandboxes(self.connection, [BRIDGE], PINS)
        self.assertEqual((junk.endpoints, junk.ports), ((), ()))
        self.assertIn(other, loaded)

    def test_a_damaged_subnet_is_chosen_anew(self) -> None:
        for damage in ("subnet = 'a/b/c'", "gateway = 'x'"):
            with self.connection:
                self.connection.execute(f"UPDATE networks SET {damage}")
            (network,) = records.load_networks(self.connection)
            self.assertEqual((network.name, network.address), ("bridge", None), damage)
