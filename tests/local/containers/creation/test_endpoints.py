"""What a create request may say of its endpoints on networks."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface
from typing import Any

import attrs
import msgspec
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.creation.endpoints import (
    check_endpoints,
    check_start,
    checked_mac,
    endpoint_warnings,
    link_local,
    stored_endpoints,
)
from dockerapi.model.containers import CreateBody
from dockerapi.model.decode import decode_json
from dockerapi.model.versions import Version
from tests.local.containers.support import RigCase

_FIXED = "user-specified IP address is supported on user-defined networks only"
_ALIAS = "network-scoped aliases are only supported for user-defined networks"
_MAC, _OTHER = "02:42:00:00:00:01", "02-42-00-00-00-02"
_OLD, _NEW = Version(1, 43), Version(1, 44)


@attrs.frozen
class Net:
    name: str
    id: str
    address: IPv4Interface | None = None


NETWORKS = (
    Net("bridge", "b" * 64, IPv4Interface("172.17.0.1/16")),
    Net("host", "c" * 64),
    Net("none", "d" * 64),
)


def find(reference: str) -> Net | None:
    return next((one for one in NETWORKS if reference in (one.name, one.id)), None)


def body(endpoints: Any = None, mode: str = "", **config: Any) -> CreateBody:
    """Return the body of a create request."""
    networking = {"EndpointsConfig": endpoints or {}}
    host = {"NetworkMode": mode}
    raw = {"HostConfig": host, "NetworkingConfig": networking, **config}
    return decode_json(json.dumps(raw).encode(), CreateBody)


def invalid(network: str, *problems: str) -> str:
    """Return what is said of problems of one endpoint."""
    listed = problems[0] if len(problems) == 1 else "\n".join(f"* {one}" for one in problems)
    return f"invalid config for network {network}: invalid endpoint settings:\n{listed}"


def ipam(**addresses: Any) -> dict[str, Any]:
    return {"IPAMConfig": addresses}


def sysctls(text: str) -> dict[str, Any]:
    return {"DriverOpts": {"com.docker.network.endpoint.sysctls": text}}


class CheckTests(SynchronousTestCase):
    def check(self, endpoints: Any, version: Version = _NEW, **config: Any) -> str:
        """Return why a request is refused; empty where it is not."""
        try:
            check_endpoints(body(endpoints, **config), find, version)
        except InvalidParameter as refused:
            return refused.message
        return ""

    def test_what_is_fine(self) -> None:
        fixed = ipam(IPv4Address="10.1.1.1", IPv6Address="2001:db8::1")
        fine: tuple[dict[str, Any], ...] = (
            {},
            {"default": {}},
            {"bridge": {"GwPriority": 1, "Links": ["a:b"]}},
            {"bridge": ipam(LinkLocalIPs=["169.254.1.1", "fe80::1"])},
            {"nosuch": {"Aliases": ["a"], **fixed}},
            {"bridge": {}, "nosuch": {}},
        )
        for endpoints in fine:
            self.assertEqual(self.check(endpoints), "", endpoints)

    def test_several_are_refused_to_older_clients(self) -> None:
        refused = self.check({"one": {}, "two": {}}, _OLD)
        text = "Container cannot be created with multiple network endpoints: one, two"
        self.assertEqual(refused, text)

    def test_none_at_all(self) -> None:
        text = "invalid config for network bridge: EndpointsConfig is nil"
        self.assertEqual(self.check({"bridge": None}), text)
        self.assertEqual(self.check({"default": None}), text)

    def test_addresses_on_predefined_networks(self) -> None:
        outside = "no configured subnet contains IP address {}".format
        for endpoints, text in (
            ({"bridge": ipam(IPv4Address="172.17.0.9")}, invalid("bridge", _FIXED)),
            (
                {"default": ipam(IPv4Address="1.2.3.4")},
                invalid("bridge", _FIXED, outside("1.2.3.4")),
            ),
            (
                {"bridge": ipam(IPv4Address="0.0.0.0")},
                invalid("bridge", _FIXED, "invalid IPv4 address: 0.0.0.0", outside("0.0.0.0")),
            ),
            (
                {"bridge": ipam(IPv6Address="::ffff:1.2.3.4")},
                invalid(
                    "bridge", _FIXED, "invalid IPv6 address: ::ffff:1.2.3.4", outside("1.2.3.4")
                ),
            ),
            (
                {"none": ipam(IPv6Address="fd00::5")},
                invalid("none", _FIXED, outside("fd00::5")),
            ),
            (
                {"bridge": ipam(LinkLocalIPs=["0.0.0.0"])},
                invalid("bridge", "invalid link-local IP address: 0.0.0.0"),
            ),
            ({"host": {"Aliases": ["a"]}}, invalid("host", _ALIAS)),
            (
                {"bridge": sysctls("net.foo")},
                invalid(
                    "bridge",
                    "unrecognised network interface sysctl 'net.foo'; represent "
                    "'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' "
                    "or 'mpls'",
                ),
            ),
            ({"container:x": ipam(IPv4Address="1.2.3.4")}, invalid("container:x", _FIXED)),
            ({"nosuch": ipam(IPv4Address="::1")}, invalid("nosuch", "invalid IPv4 address: ::1")),
        ):
            self.assertEqual(self.check(endpoints), text)

    def test_settings_of_interfaces_that_are_none(self) -> None:
        for text in ("", "net.ipv5.conf.IFNAME.x=1", "net.ipv4.conf.eth0.x=1", "\0"):
            self.assertIn("unrecognised network interface", self.check({"bridge": sysctls(text)}))
        refused = self.check({"bridge": sysctls("net.ipv4.conf.IFNAME.x=\0")})
        self.assertIn("unrecognised network interface", refused)

    def test_several_problems(self) -> None:
        refused = self.check({"bridge": None, "host": {"Aliases": ["a"]}})
        self.assertEqual(
            refused,
            "* invalid config for network bridge: EndpointsConfig is nil\n"
            "* invalid config for network host: invalid endpoint settings:\n"
            f"\t{_ALIAS}",
        )

    def test_what_is_no_address(self) -> None:
        for settings in (ipam(IPv4Address="x"), ipam(LinkLocalIPs=["x"])):
            refused = self.check({"nosuch": settings})
            self.assertEqual(refused, 'invalid JSON: ParseAddr("x"): unable to parse IP')
        for mac in ("x", "02:42", "02:42-00:00:00:01", f"{_MAC}\n"):
            self.assertIn("invalid MAC address", self.check({"nosuch": {"MacAddress": mac}}))


class HardwareAddressTests(SynchronousTestCase):
    def refused(self, request: CreateBody, version: Version = _NEW) -> str:
        return self.assertRaises(InvalidParameter, checked_mac, request, version).message

    def test_whose_it_is(self) -> None:
        self.assertEqual(checked_mac(body()), "")
        self.assertEqual(checked_mac(body(MacAddress=_MAC)), _MAC)
        for endpoints in ({"bridge": {"MacAddress": _OTHER}}, {"default": {"MacAddress": _OTHER}}):
            self.assertEqual(checked_mac(body(endpoints)), _OTHER)
            # Older versions did not know it there.
            self.assertEqual(checked_mac(body(endpoints), _OLD), "")
        self.assertEqual(checked_mac(body({"default": {}}, MacAddress=_MAC)), _MAC)

    def test_what_is_none(self) -> None:
        for wrong in ("x", "02:42", "02:42-00:00:00:01", f"{_MAC}\n"):
            self.assertIn("invalid MAC address", self.refused(body(MacAddress=wrong)))

    def test_what_contradicts(self) -> None:
        request = body({"bridge": {"MacAddress": _OTHER}}, MacAddress=_MAC)
        self.assertIn("must match the endpoint-specific MAC address", self.refused(request))
        request = body({"nosuch": {}}, MacAddress=_MAC)
        self.assertIn("unable to migrate container-wide MAC address", self.refused(request))
        for mode in ("host", "none", "container:x"):
            request = body(mode=mode, MacAddress=_MAC)
            text = "conflicting options: mac-address and the network mode"
            self.assertEqual(self.refused(request, _OLD), text)
            self.assertEqual(checked_mac(request), "")


class StartTests(SynchronousTestCase):
    def start(self, mode: str, *names: str) -> EngineError | None:
        request = body({name: {} for name in names}, mode)
        endpoints = stored_endpoints(msgspec.json.encode(request))
        try:
            check_start(mode, endpoints, find)
        except EngineError as refused:
            return refused
        return None

    def test_what_can_be_connected(self) -> None:
        for mode, *names in (
            ("bridge",),
            ("bridge", "bridge"),
            ("bridge", "b" * 64),
            ("none", "none"),
            ("host", "host"),
        ):
            self.assertIsNone(self.start(mode, *names))

    def test_what_cannot(self) -> None:
        missing = self.start("nosuch")
        self.assertIsInstance(missing, NotFound)
        for mode, names, text in (
            ("nosuch", (), "network nosuch not found"),
            ("bridge", ("bridge", "nosuch"), "network nosuch not found"),
            ("bridge", ("bridge", "default"), "network default not found"),
            ("bridge", ("bridge", "none"), "private (none) mode"),
            ("bridge", ("bridge", "host"), "must be created in host network mode"),
            ("host", ("host", "bridge"), "cannot be connected to any other network"),
        ):
            refused = self.start(mode, *names)
            assert refused is not None, (mode, names)
            self.assertIn("failed to set up container networking: ", refused.message)
            self.assertIn(text, refused.message)

    def test_addresses_by_the_id_of_a_network(self) -> None:
        request = body({"b" * 64: ipam(IPv4Address="172.17.0.9")})
        check_endpoints(request, find)
        endpoints = stored_endpoints(msgspec.json.encode(request))
        refused = self.assertRaises(InvalidParameter, check_start, "bridge", endpoints, find)
        self.assertIn(_FIXED, refused.message)


class StoredTests(SynchronousTestCase):
    def test_what_is_read_again(self) -> None:
        request = body({"default": ipam(LinkLocalIPs=["169.254.1.1"]), "other": None})
        found = stored_endpoints(msgspec.json.encode(request))
        self.assertEqual(list(found), ["bridge"])
        self.assertEqual(link_local(found), ["169.254.1.1"])
        for damaged in (b"", b"{", b'{"NetworkingConfig":5}'):
            self.assertEqual(stored_endpoints(damaged), {})

    def test_what_has_no_effect(self) -> None:
        settings = {"bridge": sysctls("net.ipv4.conf.IFNAME.forwarding=1")}
        self.assertEqual(list(endpoint_warnings(body(settings))), [])
        request = body({"bridge": {"DriverOpts": {"a": "b"}}, "other": None})
        self.assertEqual(len(list(endpoint_warnings(request))), 1)
        self.assertEqual(list(endpoint_warnings(body({"bridge": {"GwPriority": 1}}))), [])


class RealTests(RigCase):
    """Containers with endpoints, on real networks."""

    async def test_inspection_gives_back_what_was_asked_for(self) -> None:
        settings = {
            "IPAMConfig": {"LinkLocalIPs": ["169.254.9.9", "fe80::9"]},
            "DriverOpts": {"a": "b"},
            "GwPriority": 7,
            "MacAddress": _MAC,
        }
        wanted = {"EndpointsConfig": {"default": settings}}
        host = {"NetworkMode": "default"}
        made = await self.rig.create("ls", "/", host=host, NetworkingConfig=wanted)
        self.assertEqual(len(made["Warnings"]), 1)
        for _ in range(2):
            found = await self.rig.job("ContainerInspect", made["Id"])
            networks = found["NetworkSettings"]["Networks"]
            self.assertEqual(list(networks), ["bridge"])
            for name, value in settings.items():
                self.assertEqual(networks["bridge"][name], value)
            await self.rig.stop()
            await self.rig.start()

    async def test_settings_of_its_interface(self) -> None:
        name = "net.ipv4.conf.IFNAME.log_martians"
        wanted = {"EndpointsConfig": {"bridge": sysctls(f"{name}=1,net.ipv6.conf.ifname.mtu=1400")}}
        host = {"NetworkMode": "bridge"}
        seen = await self.rig.run(
            *("cat", "/proc/sys/net/ipv4/conf/eth0/log_martians"),
            "/proc/sys/net/ipv6/conf/eth0/mtu",
            host=host,
            NetworkingConfig=wanted,
        )
        self.assertEqual(seen.split(), ["1", "1400"])

    async def test_a_network_that_is_not_there(self) -> None:
        made = await self.rig.create("true", host={"NetworkMode": "nosuch"})
        with self.assertRaises(NotFound) as caught:
            await self.rig.job("ContainerStart", made["Id"])
        text = "failed to set up container networking: network nosuch not found"
        self.assertEqual(caught.exception.message, text)
        state = (await self.rig.job("ContainerInspect", made["Id"]))["State"]
        told = (state["Status"], state["ExitCode"], state["Error"])
        self.assertEqual(told, ("created", 128, text))
