"""Ports as clients write them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.containers import PortBinding
from dockerapi.model.malformed import Malformed
from dockerapi.model.ports import (
    Port,
    PortRequest,
    exposed_ports,
    matched_ports,
    parse_ports,
    requested_ports,
)

NUMBERS = st.integers(1, 65535)
BOTH = ("0.0.0.0", "::")


def wanted(port: str, *bindings: tuple[str, str]) -> list[PortRequest]:
    """Return what one entry of `PortBindings` asks for."""
    listed = [PortBinding(host_ip=address, host_port=number) for address, number in bindings]
    return requested_ports((), {port: listed}, publish_all=False)


class ParseTests(SynchronousTestCase):
    @given(NUMBERS, st.sampled_from(("tcp", "udp", "sctp")))
    def test_what_is_written_is_read(self, number: int, protocol: str) -> None:
        self.assertEqual(Port.parse(str(Port(number, protocol))), Port(number, protocol))

    def test_forms(self) -> None:
        self.assertEqual(Port.parse("80"), Port(80))
        self.assertEqual(Port.parse("80/UDP"), Port(80, "udp"))
        self.assertEqual(parse_ports("80-82"), [Port(80), Port(81), Port(82)])

    @given(st.text(max_size=12))
    def test_anything_is_read_or_refused(self, text: str) -> None:
        try:
            ports = parse_ports(text)
        except Malformed:
            return
        self.assertTrue(all(1 <= port.number <= 65535 for port in ports))

    def test_what_is_none(self) -> None:
        for text in ("", "x", "0", "-1", "65536", "80-", "82-80", "80/x/y", "٣", " 80"):
            self.assertRaises(Malformed, parse_ports, text)
        failure = self.assertRaises(Malformed, parse_ports, "abc/tcp")
        self.assertEqual(failure.message, "invalid JSON: invalid port 'abc': invalid syntax")
        failure = self.assertRaises(Malformed, parse_ports, "80/foo")
        self.assertEqual(failure.message, "invalid proto: foo")

    def test_images_may_expose_anything(self) -> None:
        self.assertEqual(exposed_ports(["81", "x", "80-81/tcp"]), [Port(80), Port(81)])


class RequestTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        for given_address, addresses in (
            ("", BOTH),
            ("0.0.0.0", ("0.0.0.0",)),
            ("::", ("::",)),
            ("[::1]", ("::1",)),
            ("::ffff:192.0.2.1", ("192.0.2.1",)),
            ("0:0::1", ("::1",)),
        ):
            (request,) = wanted("80", (given_address, "8080"))
            self.assertEqual(request, PortRequest(Port(80), addresses, 8080, 8080))

    def test_numbers(self) -> None:
        for text, numbers in (("", (0, 0)), ("0", (0, 0)), ("8000-8010", (8000, 8010))):
            (request,) = wanted("80", ("", text))
            self.assertEqual((request.first, request.last), numbers)

    def test_what_is_none(self) -> None:
        for text in ("x", "70000", "90-80", "-1", "1-2-3"):
            failure = self.assertRaises(Malformed, wanted, "80", ("", text))
            self.assertEqual(failure.message, f'invalid port specification: "{text}"')
        self.assertRaises(Malformed, wanted, "80-81", ("", "80"))
        self.assertRaises(Malformed, wanted, "80", ("host", "80"))

    def test_the_narrowest_come_first(self) -> None:
        requests = wanted("80", ("", ""), ("", "8000-8001"), ("", "8000"))
        self.assertEqual([one.first for one in requests], [8000, 8000, 0])
        self.assertEqual([one.last for one in requests], [8000, 8001, 0])

    def test_all_that_are_exposed(self) -> None:
        bindings = {"80/tcp": [PortBinding(host_port="8080")], "82/tcp": []}
        requests = requested_ports(["80/tcp", "81/udp"], bindings, publish_all=True)
        self.assertEqual(
            [(one.port, one.first) for one in requests],
            [(Port(80), 8080), (Port(81, "udp"), 0), (Port(82), 0)],
        )
        self.assertEqual(requested_ports(["80"], None, publish_all=False), [])


class FilterTests(SynchronousTestCase):
    def test_ports_and_ranges(self) -> None:
        self.assertEqual(matched_ports("80"), {Port(80)})
        self.assertEqual(matched_ports("80-81/udp"), {Port(80, "udp"), Port(81, "udp")})

    @given(st.text(max_size=12))
    def test_anything_is_read_or_refused(self, text: str) -> None:
        try:
            matched_ports(text)
        except Malformed:
            return

    def test_what_is_none(self) -> None:
        for text in ("", "x", "2-1", "70000", "1-70000", "99999999999"):
            self.assertRaises(Malformed, matched_ports, text)
