"""Subnets and addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.networks.subnets import (
    DEFAULT_POOLS,
    Addresses,
    choose_subnet,
    first_host,
    mac_of,
    parse_bip,
)

networks = st.builds(
    lambda number, length: IPv4Network((number, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(8, 32),
)


class ChooseTests(SynchronousTestCase):
    def test_first_that_is_free(self) -> None:
        self.assertEqual(choose_subnet(DEFAULT_POOLS, ()), IPv4Network("172.17.0.0/16"))
        used = [IPv4Network("172.17.0.0/16"), IPv4Network("172.18.3.0/24")]
        self.assertEqual(choose_subnet(DEFAULT_POOLS, used), IPv4Network("172.19.0.0/16"))

    def test_then_the_smaller_ones(self) -> None:
        used = [IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/20")]
        self.assertEqual(choose_subnet(DEFAULT_POOLS, used), IPv4Network("192.168.16.0/20"))

    def test_none_left(self) -> None:
        used = [IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")]
        error = self.assertRaises(EngineError, choose_subnet, DEFAULT_POOLS, used)
        self.assertIn("non-overlapping", error.message)

    @given(st.lists(networks, max_size=20))
    def test_never_overlaps(self, used: list[IPv4Network]) -> None:
        try:
            chosen = choose_subnet(DEFAULT_POOLS, used)
        except EngineError:
            return
        self.assertFalse(any(chosen.overlaps(network) for network in used))


class BipTests(SynchronousTestCase):
    def test_good(self) -> None:
        self.assertEqual(parse_bip("10.9.8.1/24"), IPv4Interface("10.9.8.1/24"))

    def test_bad(self) -> None:
        for text in ("x", "10.0.0.1", "10.0.0.0/24", "10.0.0.255/24", "10.0.0.1/31", "fd00::1/64"):
            error = self.assertRaises(InvalidParameter, parse_bip, text)
            self.assertIn(repr(text), error.message)


class AddressesTests(SynchronousTestCase):
    def test_in_order_without_the_taken(self) -> None:
        addresses = Addresses(IPv4Network("10.0.0.0/29"), [IPv4Address("10.0.0.1")])
        taken = [str(addresses.take()) for _ in range(5)]
        self.assertEqual(taken, [f"10.0.0.{number}" for number in range(2, 7)])
        error = self.assertRaises(EngineError, addresses.take)
        self.assertIn("no available IPv4 addresses", error.message)
        addresses.release(IPv4Address("10.0.0.4"))
        self.assertEqual(addresses.take(), IPv4Address("10.0.0.4"))

    def test_what_was_let_go_of_comes_last(self) -> None:
        addresses = Addresses(IPv4Network("10.0.0.0/29"), ())
        first = addresses.take()
        addresses.release(first)
        later = [addresses.take() for _ in range(5)]
        self.assertNotIn(first, later)
        self.assertEqual(addresses.take(), first)

    @given(st.lists(st.booleans(), max_size=60))
    def test_never_twice(self, steps: list[bool]) -> None:
        network = IPv4Network("10.0.0.0/28")
        addresses = Addresses(network, [IPv4Address("10.0.0.1")])
        held: list[IPv4Address] = []
        for take in steps:
            if take and len(held) < 13:
                address = addresses.take()
                self.assertNotIn(address, held)
                self.assertIn(address, list(network.hosts())[1:])
                held.append(address)
            elif held:
                addresses.release(held.pop(0))


class MacTests(SynchronousTestCase):
    def test_follows_from_the_address(self) -> None:
        self.assertEqual(mac_of(IPv4Address("172.17.0.2")), "02:42:ac:11:00:02")

    def test_gateway(self) -> None:
        network = IPv4Network("172.18.0.0/16")
        self.assertEqual(first_host(network), IPv4Interface("172.18.0.1/16"))
