"""What a real server tells at several versions of the API: which members each answer has."""

from __future__ import annotations

import http.client
import json
import time
import urllib.parse
from typing import Any

from tests.integration.server import wait_until
from tests.integration.test_cli import EmbeddedCase
from tests.unixhttp import UnixConnection

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


def _decoded(received: bytes) -> Any:
    """Return a document, or the bytes of what is none."""
    try:
        return json.loads(received)
    except ValueError:
        return received


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
        return answer.status, _decoded(received), answer.headers

    def get(self, version: str, path: str) -> Any:
        status, body, _ = self.ask(version, path)
        self.assertEqual(status, 200, body)
        return body


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
            told: dict[str, object] = {"NetworkMode": "bridge"}
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
        for name, value in (("MacAddress", ""), ("NetworkDisabled", False), ("ExposedPorts", None)):
            self.assertEqual(found["Config"][name], value)

    def test_samples_and_kills_of_old(self) -> None:
        self.ok("run", "-d", "--name", "c1", "busybox", "sleep", "1000")
        interfaces = self.get("1.21", "/containers/c1/stats?stream=0")["networks"]
        found = self.get("1.20", "/containers/c1/stats?stream=0")
        self.assertNotIn("networks", found)
        self.assertEqual(set(found["network"]), set(interfaces["eth0"]))
        for status in (204, 204):
            told = self.ask("1.19", "/containers/c1/kill", method="POST")
            self.assertEqual(told[0], status, told)
            wait_until(lambda: self.status("c1") == "exited")
        self.assertEqual(self.ask("1.20", "/containers/c1/kill", method="POST")[0], 409)

    def test_paths_are_told_once_a_start_was_tried(self) -> None:
        def paths() -> set[bool]:
            found = self.get("1.55", "/containers/c1/json")
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
        self.assertEqual(paths(), {True})

    def test_top_finds_processes_of_any_user(self) -> None:
        self.ok("run", "-d", "--name", "c1", "--user", "nobody", "busybox", "sleep", "60")
        # The runtime returns a moment before its process becomes the command.
        wait_until(lambda: "crun" not in self.ok("top", "c1", "-o", "pid,comm"))
        for arguments, titles in (
            ("-o pid,comm", ["PID", "COMMAND"]),
            ("-A f -o pid,comm", ["PID", "COMMAND"]),
        ):
            query = urllib.parse.urlencode({"ps_args": arguments})
            found = self.get("1.55", f"/containers/c1/top?{query}")
            self.assertEqual(found["Titles"], titles, arguments)
            commands = [row[1].split()[-1] for row in found["Processes"]]
            self.assertEqual(commands, ["sleep"], arguments)

    def test_top_without_numbers(self) -> None:
        self.ok("run", "-d", "--name", "c1", "busybox", "sleep", "60")
        status, answer, _ = self.ask("1.55", "/containers/c1/top?ps_args=-o%20comm")
        self.assertEqual(status, 500)
        self.assertEqual(answer["message"], "Couldn't find PID field in ps output")

    def test_memory_statistics_are_dockerds(self) -> None:
        self.ok("run", "-d", "--name", "c1", "busybox", "sleep", "60")
        told = self.get("1.55", "/containers/c1/stats?stream=0&one-shot=1")["memory_stats"]["stats"]
        self.assertIn("pgfault", told)
        self.assertNotIn("swapcached", told)
        self.assertNotIn("workingset_refault_anon", told)


class SystemVersionsTests(VersionsCase):
    def test_info(self) -> None:
        for version in VERSIONS:
            number = int(version.partition(".")[2])
            found = self.get(version, "/info")
            for name, since, until in (
                ("ExecutionDriver", 0, 25),
                ("KernelMemory", 0, 40),
                ("KernelMemoryTCP", 0, 40),
                ("BridgeNfIptables", 0, 50),
                ("BridgeNfIp6tables", 0, 50),
                ("FirewallBackend", 49, 99),
                ("CDISpecDirs", 0, 99),
                ("Warnings", 0, 99),
            ):
                self.assertEqual(name in found, since <= number < until, (name, version))
            registries = found["RegistryConfig"]
            told = "AllowNondistributableArtifactsCIDRs" in registries
            self.assertEqual(told, number < 49, version)
            for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
                expected = {"ID", "Expected"} if number < 49 else {"ID"}
                self.assertEqual(set(found[name]), expected, (name, version))
            named = any("=" in option for option in found["SecurityOptions"])
            self.assertEqual(named, bool(found["SecurityOptions"]) and number >= 25, version)

    def test_version_is_the_same_for_all(self) -> None:
        newest = self.get("1.55", "/version")
        self.assertEqual((newest["ApiVersion"], newest["MinAPIVersion"]), ("1.55", "1.24"))
        for version in VERSIONS:
            self.assertEqual(self.get(version, "/version"), newest, version)

    def test_a_version_that_there_is_not(self) -> None:
        status, answer, headers = self.ask("1.56", "/version")
        self.assertEqual(status, 400)
        self.assertEqual(
            answer["message"],
            "client version 1.56 is too new. Maximum supported API version is 1.55",
        )
        self.assertEqual(headers["Api-Version"], "1.55")
        status, answer, _ = self.ask("1.23", "/version")
        self.assertEqual(status, 400)
        self.assertIn("client version 1.23 is too old", str(answer))

    def test_headers(self) -> None:
        common = {"Api-Version": "1.55", "Docker-Experimental": "false", "Ostype": "linux"}
        tag = "/images/busybox/tag?repo=other/name&tag=t1"
        for method, path, status in (
            ("POST", tag, 201),
            ("DELETE", "/images/other/name:t1", 200),
            ("GET", "/containers/json", 200),
            ("GET", "/containers/nosuch/json", 404),
            ("OPTIONS", "/containers/json", 200),
        ):
            answered, _, headers = self.ask("1.41", path, method=method)
            self.assertEqual(answered, status, path)
            self.assertTrue(headers["Server"].startswith("Docker/"), path)
            self.assertEqual({name: headers[name] for name in common}, common, path)
        self.ok("create", "--name", "c1", "busybox", "true")
        _, _, headers = self.ask("1.41", "/containers/c1/archive?path=/etc", method="HEAD")
        self.assertEqual({name: headers[name] for name in common}, common)
        self.assertTrue(headers["X-Docker-Container-Path-Stat"])


class ImageVersionsTests(VersionsCase):
    def test_inspect_and_list(self) -> None:
        base = {
            *("Architecture", "Config", "Created", "GraphDriver", "Id", "Metadata", "Os"),
            *("RepoDigests", "RepoTags", "RootFS", "Size", "Comment"),
        }
        of_containers = {
            *("Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty"),
            *("OpenStdin", "StdinOnce", "Image"),
        }
        of_images = {
            *("User", "Env", "Cmd", "Volumes", "WorkingDir", "Entrypoint", "OnBuild", "Labels"),
        }
        for version in VERSIONS:
            number = int(version.partition(".")[2])
            found = self.get(version, "/images/busybox/json")
            expected = set(base)
            if number < 52:
                expected |= {"Parent", "DockerVersion", "Author"}
            if number < 45:
                expected |= {"Container", "ContainerConfig"}
                told = "OnBuild" in found["ContainerConfig"]
                self.assertEqual(told, number < 40, version)
            if number < 44:
                expected.add("VirtualSize")
            self.assertEqual(set(found), expected, version)
            config = set() if number >= 52 else of_images
            self.assertEqual(
                set(found["Config"]), config | (of_containers if number < 50 else set()), version
            )
            self.assertEqual(
                set(found["GraphDriver"]["Data"]), {"MergedDir", "UpperDir", "WorkDir"}, version
            )
            (row,) = self.get(version, "/images/json")
            self.assertEqual("VirtualSize" in row, number < 44, version)
            self.assertEqual(row["Containers"], 0 if number >= 51 else -1, version)

    def test_a_commit(self) -> None:
        identity = self.ok("create", "--name", "c1", "-h", "box", "busybox", "sleep", "9").strip()
        image = self.ok("commit", "c1", "committed:t").strip()
        parent = self.get("1.55", "/images/busybox/json")["Id"]
        found = self.get("1.44", "/images/committed:t/json")
        self.assertEqual((found["Parent"], found["Container"]), (parent, identity))
        config = found["Config"]
        self.assertEqual((config["Hostname"], config["Image"], config["Labels"]), ("", "", None))
        config = found["ContainerConfig"]
        self.assertEqual((config["Hostname"], config["Cmd"]), ("box", ["sleep", "9"]))
        self.assertNotIn("OnBuild", config)
        self.assertNotIn("Container", self.get("1.45", "/images/committed:t/json"))
        found = self.get("1.55", "/images/committed:t/json")
        self.assertEqual(set(found["Config"]), {"Cmd"})
        steps = self.get("1.55", "/images/committed:t/history")
        self.assertEqual([one["Id"] for one in steps], [image, parent])
        self.assertEqual([one["Tags"] for one in steps], [["committed:t"], ["busybox:latest"]])

    def test_that_an_image_was_made_is_told_since_1_46(self) -> None:
        self.ok("create", "--name", "c1", "busybox", "true")
        image = self.ok("commit", "c1", "committed:t").strip()
        until = int(time.time()) + 1
        for version in ("1.45", "1.46"):
            body = self.ask(version, f"/events?since=1&until={until}")[1]
            events = [json.loads(line) for line in body.splitlines()]
            told = [one["Action"] for one in events if one["Actor"]["ID"] == image]
            made = ["create"] if version == "1.46" else []
            self.assertEqual(told, [*made, "tag"], version)

    def test_what_is_used(self) -> None:
        self.ok("create", "--name", "c1", "-v", "vol1:/v", "busybox", "true")
        lists = {"BuildCache", "Containers", "Images", "LayersSize", "Volumes"}
        sums = {"BuildCacheUsage", "ContainerUsage", "ImageUsage", "VolumeUsage"}
        for version in VERSIONS:
            number = int(version.partition(".")[2])
            found = self.get(version, "/system/df")
            expected = lists | (sums if number >= 52 else set())
            self.assertEqual(set(found), expected | ({"BuilderSize"} if number < 40 else set()))
            (image,) = found["Images"]
            self.assertEqual((image["RepoTags"], image["RepoDigests"]), (["busybox:latest"], None))
            if number >= 52:
                self.assertEqual(found["ImageUsage"]["Items"], found["Images"], version)
                self.assertEqual(found["VolumeUsage"]["Items"], found["Volumes"], version)
                self.assertEqual(set(self.get(version, "/system/df?verbose=1")), sums, version)


class NetworkVersionsTests(VersionsCase):
    def test_list_and_inspect(self) -> None:
        identity = self.ok("run", "-d", "busybox", "sleep", "60").strip()
        for version in (*VERSIONS, "1.27", "1.28"):
            number = int(version.partition(".")[2])
            listed = {one["Name"]: one for one in self.get(version, "/networks")}
            found = self.get(version, "/networks/bridge")
            self.assertEqual(list(found["Containers"]), [identity], version)
            self.assertEqual("EnableIPv4" in found, number >= 40, version)
            self.assertEqual("Status" in found, number >= 52, version)
            entry = listed["bridge"]
            nothing: list[object] | None = None if number >= 40 else []
            self.assertEqual(listed["none"]["IPAM"]["Config"], nothing, version)
            self.assertNotIn("Status", entry, version)
            self.assertEqual("EnableIPv4" in entry, number >= 40, version)
            told = {} if number >= 28 else found["Containers"]
            if number < 40:
                self.assertEqual(entry["Containers"], told, version)
            else:
                self.assertNotIn("Containers", entry, version)

    def test_a_prune_by_no_time(self) -> None:
        filters = urllib.parse.quote('{"until": ["x"]}')
        status, answer, _ = self.ask("1.41", f"/networks/prune?filters={filters}", method="POST")
        self.assertEqual(status, 400, answer)
