"""What a create request may say about networks and ports."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.creation.networking import (
    check_networking,
    exposed_with_bindings,
    network_warnings,
)
from dockerapi.model.containers import CreateBody


def body(host: Any = None, **config: Any) -> CreateBody:
    """Return the body of a create request."""
    return msgspec.convert({"HostConfig": host or {}, **config}, CreateBody)


class CheckTests(SynchronousTestCase):
    def check(self, host: Any = None, **config: Any) -> str:
        """Return why a request is refused; empty where it is not."""
        request = body(host, **config)
        assert request.host_config is not None
        try:
            check_networking(request.container_config(), request.host_config)
        except InvalidParameter as refused:
            return refused.message
        return ""

    def test_joining_excludes_what_the_other_has(self) -> None:
        joining = {"NetworkMode": "container:other"}
        self.assertEqual(self.check(joining), "")
        for host, config, words in (
            ({}, {"Hostname": "h"}, "hostname and the network mode"),
            ({"Dns": ["192.0.2.1"]}, {}, "dns and the network mode"),
            ({"ExtraHosts": ["a:192.0.2.1"]}, {}, "custom host-to-IP mapping and the network mode"),
            ({"PublishAllPorts": True}, {}, "port publishing and the container type network mode"),
            ({}, {"ExposedPorts": {"80": {}}}, "port exposing and the container type network mode"),
        ):
            refused = self.check({**joining, **host}, **config)
            self.assertEqual(refused, f"conflicting options: {words}")
        self.assertIn("can't be used with links", self.check({**joining, "Links": ["a:b"]}))

    def test_modes(self) -> None:
        for mode in ("container", "container:"):
            self.assertIn("invalid container format", self.check({"NetworkMode": mode}))
        host = {"NetworkMode": "host"}
        self.assertEqual(self.check(host, Hostname="h"), "")
        self.assertIn("host type networking", self.check({**host, "Links": ["a:b"]}))
        self.assertIn("UTS mode", self.check({"UTSMode": "host"}, Hostname="h"))

    def test_ports(self) -> None:
        self.assertEqual(self.check({"PortBindings": {"80": [{"HostPort": "1-9"}]}}), "")
        wrong: tuple[dict[str, Any], ...] = ({"x": []}, {"80/x": []}, {"80": [{"HostPort": "x"}]})
        for bindings in wrong:
            self.assertIn("invalid", self.check({"PortBindings": bindings}))
        self.assertIn("invalid port 'x'", self.check(ExposedPorts={"x/tcp": {}}))

    def test_names(self) -> None:
        fine = ["a:192.0.2.1", "b:fd00::1", "c:[fd00::1]", "d:host-gateway"]
        self.assertEqual(self.check({"ExtraHosts": fine}), "")
        for entry in ("a", ":192.0.2.1", "a b:192.0.2.1", "a\n:192.0.2.1"):
            self.assertIn("bad format for add-host", self.check({"ExtraHosts": [entry]}), entry)
        self.assertIn("invalid IP address", self.check({"ExtraHosts": ["a:b"]}))
        self.assertIn('invalid IP address in add-host: ""', self.check({"ExtraHosts": ["a:"]}))
        self.assertIn("unable to parse IP", self.check({"Dns": ["192.0.2.1\nsearch x"]}))
        for name in ("DnsSearch", "DnsOptions"):
            self.assertNotEqual(self.check({name: ["x\nnameserver 192.0.2.1"]}), "")


class ChangeTests(SynchronousTestCase):
    def test_what_is_bound_is_exposed_once(self) -> None:
        request = body({"PortBindings": {"80/tcp": [], "81": []}}, ExposedPorts={"80": {}})
        assert request.host_config is not None
        found = exposed_with_bindings(request, request.host_config)
        self.assertEqual(found, {"80": {}, "81/tcp": {}})

    def test_the_host_has_ports_of_its_own(self) -> None:
        request = body({"NetworkMode": "host", "PublishAllPorts": True})
        assert request.host_config is not None
        self.assertEqual(len(list(network_warnings(request.host_config))), 1)
