"""What a real server tells at several versions of the API: which members each answer has."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

from tests.integration.test_cli import EmbeddedCase, UnixConnection

#: One of each shape: before and after every change of an answer that is looked at here.
OLD, FULL, NEW = ("1.24", "1.39"), ("1.40", "1.41", "1.44", "1.47", "1.51"), ("1.52", "1.55")
VERSIONS = (*OLD, *FULL, *NEW)

OF_BRIDGE = {
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress"),
    *("IPPrefixLen", "IPv6Gateway", "MacAddress"),
}
SAYING_NOTHING = {
    *("Bridge", "HairpinMode", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen"),
    *("SecondaryIPAddresses", "SecondaryIPv6Addresses"),
}
ENDPOINT = {
    *("Aliases", "DriverOpts", "EndpointID", "Gateway", "GlobalIPv6Address", "IPAMConfig"),
    *("GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway", "Links", "MacAddress"),
    "NetworkID",
}
ROW = {
    *("Command", "Created", "HostConfig", "Id", "Image", "ImageID", "Labels", "Mounts", "Names"),
    *("NetworkSettings", "Ports", "State", "Status"),
}


class VersionsCase(EmbeddedCase):
    """A server that is asked directly."""

    def ask(
        self, version: str, path: str, body: object = None, method: str = ""
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Return status, decoded body and headers of an answer."""
        connection = UnixConnection(self.server.socket)
        self.addCleanup(connection.close)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        sent = json.dumps(body) if body is not None else None
        method = method or ("POST" if body is not None else "GET")
        connection.request(method, f"/v{version}{path}", sent, headers)
        answer = connection.getresponse()
        received = answer.read()
        kind = answer.headers.get_content_type()
        return (
            answer.status,
            json.loads(received) if received and kind == "application/json" else received,
            answer.headers,
        )

    def get(self, version: str, path: str) -> Any:
        status, body, _ = self.ask(version, path)
        self.assertEqual(status, 200, body)
        return body

    def created(self, version: str, body: dict[str, Any], name: str = "") -> dict[str, Any]:
        """Return what inspect tells of a container that `body` makes at `version`."""
        query = f"?name={name}" if name else ""
        body = {"Image": "busybox", "Cmd": ["sleep", "60"], **body}
        status, answer, _ = self.ask(version, f"/containers/create{query}", body)
        self.assertEqual(status, 201, answer)
        return dict(self.get("1.55", f"/containers/{answer['Id']}/json"))


class ContainerVersionsTests(VersionsCase):
    options = ("--min-api-version", "1.12")

    def test_inspect_and_list(self) -> None:
        self.ok("run", "-d", "--name", "c1", "--annotation", "a=b", "busybox", "sleep", "60")
        newest = self.get("1.55", "/containers/c1/json")["NetworkSettings"]["Networks"]["bridge"]
        self.assertEqual(set(newest), ENDPOINT | {"GwPriority", "DNSNames"})
        for version in VERSIONS:
            found = self.get(version, "/containers/c1/json")
            settings = found["NetworkSettings"]
            expected = {"SandboxID", "SandboxKey", "Ports", "Networks"}
            if version not in NEW:
                expected |= OF_BRIDGE
                self.assertEqual(settings["IPAddress"], newest["IPAddress"], version)
                self.assertEqual(settings["MacAddress"], newest["MacAddress"], version)
            if version in OLD:
                expected |= SAYING_NOTHING
            self.assertEqual(set(settings), expected, version)
            fresh = set() if version in OLD else {"GwPriority", "DNSNames"}
            self.assertEqual(set(settings["Networks"]["bridge"]), ENDPOINT | fresh, version)
            self.assertEqual("OnBuild" in found["Config"], version in OLD, version)
            self.assertEqual("KernelMemory" in found["HostConfig"], version in OLD, version)
            self.assertEqual("ID" in found["GraphDriver"]["Data"], version not in OLD, version)

            (row,) = self.get(version, "/containers/json")
            self.assertEqual(set(row), ROW | ({"Health"} if version in NEW else set()), version)
            told = {"NetworkMode": "bridge"}
            if version in ("1.47", "1.51", *NEW):
                told["Annotations"] = {"a": "b"}
            self.assertEqual(row["HostConfig"], told, version)
            bridge = row["NetworkSettings"]["Networks"]["bridge"]
            self.assertEqual(set(bridge), ENDPOINT | fresh, version)
        (usage,) = self.get("1.41", "/system/df")["Containers"]
        self.assertIn("Health", usage, "here it is told at every version")

    def test_before_there_were_networks_and_mounts(self) -> None:
        self.ok(
            "run", "-d", "--name", "c1", "-v", "/tmp:/t:ro", "-m", "64m", "busybox", "sleep", "9"
        )
        found = self.get("1.20", "/containers/c1/json")
        self.assertNotIn("Networks", found["NetworkSettings"])
        self.assertTrue(found["NetworkSettings"]["IPAddress"])
        self.assertEqual([one["Destination"] for one in found["Mounts"]], ["/t"])
        found = self.get("1.18", "/containers/c1/json")
        self.assertNotIn("Mounts", found)
        self.assertEqual((found["Volumes"], found["VolumesRW"]), ({"/t": "/tmp"}, {"/t": False}))
        self.assertEqual(found["Config"]["Memory"], 64 * 1024 * 1024)

    def test_paths_are_told_once_a_start_was_tried(self) -> None:
        def paths(name: str = "c1") -> set[bool]:
            found = self.get("1.55", f"/containers/{name}/json")
            files = ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath")
            return {bool(found[name]) for name in files}

        self.ok("create", "--name", "c1", "busybox", "nosuchcommand")
        self.assertEqual(paths(), {False})
        self.assertIn(
            b"OCI runtime create failed: runc create failed: unable to start container process: "
            b'error during container init: exec: "nosuchcommand": executable file not found in '
            b"$PATH: unknown",
            self.server.run("start", "c1").stderr,
        )
        self.ok("run", "-d", "--name", "c2", "busybox", "sleep", "60")
        self.assertEqual(paths("c2"), {True})

    def test_top_finds_processes_of_any_user(self) -> None:
        self.ok("run", "-d", "--name", "c1", "--user", "nobody", "busybox", "sleep", "60")
        for arguments, titles in (
            ("-o pid,comm", ["PID", "COMMAND"]),
            ("-A f -o pid,comm", ["PID", "COMMAND"]),
        ):
            query = urllib.parse.urlencode({"ps_args": arguments})
            found = self.get("1.55", f"/containers/c1/top?{query}")
            self.assertEqual(found["Titles"], titles, arguments)
            commands = [row[1].split()[-1] for row in found["Processes"]]
            self.assertEqual(commands, ["sleep"], arguments)

    def test_memory_statistics_are_dockerds(self) -> None:
        self.ok("run", "-d", "--name", "c1", "busybox", "sleep", "60")
        told = self.get("1.55", "/containers/c1/stats?stream=0&one-shot=1")["memory_stats"]["stats"]
        self.assertIn("pgfault", told)
        self.assertNotIn("swapcached", told)
        self.assertNotIn("workingset_refault_anon", told)
