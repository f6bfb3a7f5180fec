"""Host strings: what each means, and one line for what none can mean."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.server.hosts import (
    BadHost,
    EndpointHost,
    Host,
    InheritedHost,
    TcpHost,
    UnixHost,
    is_loopback,
    parse_host,
    printable,
)

PORTS = st.integers(min_value=0, max_value=65535)
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


class HostTests(SynchronousTestCase):
    def test_means(self) -> None:
        means: list[tuple[str, bool, Host]] = [
            ("tcp://127.0.0.1:2375", False, TcpHost("", "tcp", "127.0.0.1", 2375)),
            ("tcp://:4243", False, TcpHost("", "tcp", "127.0.0.1", 4243)),
            ("tcp://", False, TcpHost("", "tcp", "127.0.0.1", 2375)),
            ("tcp://", True, TcpHost("", "tcp", "127.0.0.1", 2376)),
            ("tcp://0.0.0.0", True, TcpHost("", "tcp", "0.0.0.0", 2376)),
            ("tcp://localhost:1", False, TcpHost("", "tcp", "localhost", 1)),
            ("tcp://[::1]:2375", False, TcpHost("", "tcp", "::1", 2375)),
            ("tcp://[::1]", False, TcpHost("", "tcp", "::1", 2375)),
            ("ssl://10.0.0.1", False, TcpHost("", "ssl", "10.0.0.1", 2376)),
            ("unix:///run/d.sock", False, UnixHost("", "/run/d.sock")),
            ("unix://", False, UnixHost("", "/var/run/docker.sock")),
            ("fd://", False, InheritedHost("", "*")),
            ("fd://*", False, InheritedHost("", "*")),
            ("fd://3", False, InheritedHost("", "3")),
            ("fd://docker.socket", False, InheritedHost("", "docker.socket")),
            ("endpoint://tcp:1", False, EndpointHost("", "tcp:1")),
        ]
        for text, tls, host in means:
            parsed = parse_host(text, tls=tls)
            self.assertEqual(parsed.text, text)
            self.assertEqual(type(parsed), type(host))
            self.assertEqual((parsed.proto, parsed.shown), (host.proto, host.shown))

    def test_refuses_by_name(self) -> None:
        for text in [
            "",
            "foo",
            "/var/run/docker.sock",
            "http://x",
            "tcp://1.2.3.4:x",
            "tcp://1.2.3.4:-1",
            "tcp://1.2.3.4:65536",
            "tcp://1.2.3.4:99999999999999",
            "tcp://1.2.3.4:\uff11",
            "tcp://::1:2375",
            "tcp://[::1:2375",
            "tcp://[::1]2375",
            "tcp://[nope]:1",
            "tcp://a b:1",
            "tcp://a/b:1",
            "tcp://a:1/v1",
            "tcp://u@h:1",
            "unix://relative",
            "unix:///tmp/",
            "unix:///a\0b",
            "unix:///" + "x" * 107,
            "fd://a/b",
            "fd://a\n",
            "endpoint://",
        ]:
            error = self.assertRaises(BadHost, parse_host, text)
            self.assertIn(printable(text), error.message)
            self.assertEqual(len(error.message.splitlines()), 1)

    @given(ADDRESSES, PORTS)
    def test_every_address_comes_back(
        self, address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
    ) -> None:
        text = f"tcp://[{address}]:{port}" if address.version == 6 else f"tcp://{address}:{port}"
        host = parse_host(text)
        assert isinstance(host, TcpHost)
        self.assertEqual((ipaddress.ip_address(host.address), host.port), (address, port))
        self.assertEqual(f"tcp://{host.shown}", text)

    @given(st.text())
    def test_anything_is_a_host_or_one_line(self, text: str) -> None:
        for prefix in ("", "tcp://", "unix:///", "fd://", "ssl://["):
            try:
                self.assertEqual(parse_host(prefix + text).text, prefix + text)
            except BadHost as error:
                self.assertTrue(error.message.isprintable())
                self.assertIn(printable(prefix + text), error.message)

    def test_loopback(self) -> None:
        for address in ("127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(is_loopback(address))
        for address in ("0.0.0.0", "::", "10.0.0.1", "localhost", "::ffff:8.8.8.8"):
            self.assertFalse(is_loopback(address))
