"""The texts of /etc/hosts, /etc/resolv.conf and /etc/hostname."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.networks.files import hostname_text, hosts_text, resolv_text

#: As dockerd 20.10 writes it for a container without a network.
LOCAL = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


class HostsTests(SynchronousTestCase):
    def test_local(self) -> None:
        self.assertEqual(hosts_text("h"), LOCAL)

    def test_own_address(self) -> None:
        text = hosts_text("56f007cd819d", addresses=["172.17.0.2"])
        self.assertEqual(text, LOCAL + "172.17.0.2\t56f007cd819d\n")

    def test_domain(self) -> None:
        for hostname, domain in (("web", "example.org"), ("web.example.org", "")):
            text = hosts_text(hostname, domain, ["10.0.0.2"])
            self.assertEqual(text, LOCAL + "10.0.0.2\tweb.example.org web\n")

    def test_extra(self) -> None:
        text = hosts_text(
            "h",
            addresses=["10.0.0.2"],
            extra=["db:10.1.1.1", "up:host-gateway", "six:[fd00::1]", "seven:fd00::2"],
            gateway="10.0.0.1",
        )
        self.assertEqual(
            text.removeprefix(LOCAL),
            "10.1.1.1\tdb\n10.0.0.1\tup\nfd00::1\tsix\nfd00::2\tseven\n10.0.0.2\th\n",
        )

    def test_hostname(self) -> None:
        self.assertEqual(hostname_text("h"), "h\n")


class ResolvTests(SynchronousTestCase):
    HOST = (
        "# made by hand\nnameserver 127.0.0.53\nnameserver 10.1.1.1\nnameserver fd00::1\n"
        "search a.example b.example\noptions ndots:2 edns0\n"
    )

    def test_servers_that_cannot_be_reached_are_left_out(self) -> None:
        self.assertEqual(
            resolv_text(self.HOST),
            "nameserver 10.1.1.1\nsearch a.example b.example\noptions ndots:2 edns0\n",
        )

    def test_fallback(self) -> None:
        for host in ("", "nameserver 127.0.0.53\n", "nameserver ::1\nnameserver junk\n"):
            self.assertEqual(resolv_text(host), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n")

    def test_given_ones_replace(self) -> None:
        text = resolv_text(
            self.HOST, servers=["127.0.0.1"], search=["c.example"], options=["ndots:1"]
        )
        self.assertEqual(text, "nameserver 127.0.0.1\nsearch c.example\noptions ndots:1\n")

    def test_dot_is_no_search(self) -> None:
        self.assertNotIn("search", resolv_text(self.HOST, search=["."]))

    def test_without_a_network_of_its_own(self) -> None:
        self.assertEqual(resolv_text(self.HOST, own_network=False), self.HOST)
        text = resolv_text(self.HOST, own_network=False, search=["."])
        self.assertIn("nameserver 127.0.0.53\n", text)

    @given(st.text(max_size=300))
    def test_any_host_file(self, host: str) -> None:
        text = resolv_text(host)
        self.assertTrue(text.startswith("nameserver "))
        self.assertEqual(resolv_text(text), text)
