"""Firewall rules as texts."""

from __future__ import annotations

from ipaddress import IPv4Network

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.networks.rules import (
    BridgeRules,
    accepting,
    forward_chain,
    iptables_script,
    nft_script,
    ours,
    without_nft,
)

RULES = BridgeRules("br9", IPv4Network("10.9.0.0/16"))
DOCKER = "-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER\n-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n"


class NftTests(SynchronousTestCase):
    def test_begins_with_removal(self) -> None:
        self.assertTrue(nft_script(RULES).startswith("table ip br9\ndelete table ip br9\n"))

    def test_masquerade_and_icc(self) -> None:
        outwards = 'ip saddr 10.9.0.0/16 oifname != "br9" masquerade'
        self.assertIn(outwards, nft_script(RULES))
        self.assertNotIn('iifname "br9" oifname "br9" drop', nft_script(RULES))
        closed = BridgeRules("br9", RULES.subnet, masquerade=False, communicate=False)
        self.assertNotIn(outwards, nft_script(closed))
        self.assertIn('iifname "br9" oifname "br9" drop', nft_script(closed))


class ForwardChainTests(SynchronousTestCase):
    def test_beside_dockerd(self) -> None:
        self.assertEqual(forward_chain(DOCKER), "DOCKER-USER")

    def test_policy_alone(self) -> None:
        self.assertEqual(forward_chain("-P FORWARD DROP\n"), "FORWARD")

    def test_nothing_to_do(self) -> None:
        self.assertIsNone(forward_chain("-P INPUT DROP\n-P FORWARD ACCEPT\n"))


class IptablesTests(SynchronousTestCase):
    def test_order(self) -> None:
        script = iptables_script(accepting(RULES, "DOCKER-USER"), [])
        lines = script.splitlines()
        self.assertEqual((lines[0], lines[-1]), ("*filter", "COMMIT"))
        # Each is inserted at the top: the last in the text comes first in the chain.
        self.assertTrue(lines[-2].startswith("-I DOCKER-USER -i br9 "))

    def test_finds_only_its_own(self) -> None:
        other = '-A FORWARD -i br9 -m comment --comment "dockerapi:br99" -j ACCEPT'
        mine = '-A FORWARD -i br9 -m comment --comment "dockerapi:br9" -j ACCEPT'
        found = ours("filter", f"-P FORWARD DROP\n{other}\n{mine}\n", RULES.comment)
        self.assertEqual(
            iptables_script([], found),
            "*filter\n-D FORWARD -i br9 -m comment --comment dockerapi:br9 -j ACCEPT\nCOMMIT\n",
        )

    def test_nothing_to_change(self) -> None:
        self.assertEqual(iptables_script([], []), "")

    def test_without_nft(self) -> None:
        script = iptables_script(without_nft(RULES, "FORWARD"), [])
        self.assertIn("*nat\n-I POSTROUTING -s 10.9.0.0/16 ! -o br9 ", script)
        filters = script.partition("*nat")[0].splitlines()
        established = next(i for i, line in enumerate(filters) if "-o br9 -m conntrack" in line)
        drop = next(i for i, line in enumerate(filters) if "-o br9 ! -i br9" in line)
        # Inserted later means earlier in the chain.
        self.assertGreater(established, drop)

    def test_its_own_bridge_is_no_foreign_one(self) -> None:
        rules = without_nft(BridgeRules("dockerapi0", RULES.subnet), "FORWARD")
        self.assertFalse(any("docker+" in rule.arguments for rule in rules))
