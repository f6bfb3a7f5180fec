"""Published ports and joined networks, by the docker CLI, curl and sockets."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.isolation import OWN_NETWORK
from dockerapi.local.backend import bridge_name
from dockerapi.local.networks.namespaces import in_namespace
from tests.integration import dockerd, server
from tests.integration.dockerd import Dockerd
from tests.integration.server import Server, wait_until

#: A web server on port 80 that says where it runs.
WEB = ("sh", "-c", "mkdir /w; hostname > /w/index.html; exec httpd -f -p 80 -h /w")


#: Prints the address of the default route, without a line's end.
_GATEWAY = "ip route | awk '/default/ {printf $3}'"


class PortsCase(SynchronousTestCase):
    """Each test has a server of its own."""

    skip = server.missing() or None

    def setUp(self) -> None:
        self.server = self.make_server()
        self.addCleanup(self.check_leftovers)
        self.server.start()
        self.server.import_busybox()
        self.addCleanup(self.server.remove_containers)

    def make_server(self) -> Server:
        """Return the server of a test."""
        return Server()

    def check_leftovers(self) -> None:
        """Remove the server; its rules and its bridge go with it."""
        bridge = self.bridge()
        self.server.remove()
        tables = subprocess.run(("nft", "list", "tables"), capture_output=True, check=True).stdout
        self.assertNotIn(bridge.encode(), tables)

    def bridge(self) -> str:
        return bridge_name(str(self.server.directory / "data"))

    def ok(self, *arguments: str) -> str:
        done = self.server.run(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def web(self, name: str, *options: str) -> None:
        """Run a web server called `name`."""
        self.ok("run", "-d", "--name", name, "--hostname", name, *options, "busybox", *WEB)

    def inspect(self, name: str) -> dict[str, object]:
        (found,) = json.loads(self.ok("inspect", name))
        assert isinstance(found, dict)
        return found

    def port(self, name: str, inside: str = "80/tcp") -> int:
        """Return the port of the host that leads to `inside`."""
        return int(self.ok("port", name, inside).splitlines()[0].rpartition(":")[2])

    def get(self, address: str, port: int) -> str:
        """Ask a web server; empty where it cannot be reached."""
        host = f"[{address}]" if ":" in address else address
        done = subprocess.run(
            ("curl", "-s", "-m", "3", "--noproxy", "*", f"http://{host}:{port}/"),
            capture_output=True,
            check=False,
        )
        return done.stdout.decode().strip()

    def served(self, address: str, port: int, text: str) -> bool:
        return wait_until(lambda: self.get(address, port) == text)


class PublishTests(PortsCase):
    def test_what_users_see(self) -> None:
        self.web("web", "-p", "80", "-p", "127.0.0.1::81/udp", "--expose", "82")
        number, other = self.port("web"), self.port("web", "81/udp")
        settings = self.inspect("web")["NetworkSettings"]
        assert isinstance(settings, dict)
        self.assertEqual(
            settings["Ports"],
            {
                "80/tcp": [
                    {"HostIp": "0.0.0.0", "HostPort": str(number)},
                    {"HostIp": "::", "HostPort": str(number)},
                ],
                "81/udp": [{"HostIp": "127.0.0.1", "HostPort": str(other)}],
                "82/tcp": None,
            },
        )
        shown = self.ok("ps", "--format", "{{.Ports}}").strip()
        self.assertEqual(
            set(shown.split(", ")),
            {
                f"0.0.0.0:{number}->80/tcp",
                f"[::]:{number}->80/tcp",
                "82/tcp",
                f"127.0.0.1:{other}->81/udp",
            },
        )
        for wanted in (f"publish={number}", "expose=82", "expose=70-90/tcp"):
            self.assertIn("web", self.ok("ps", "--filter", wanted))
        for unwanted in (f"publish={number}/sctp", "publish=82", "expose=83"):
            self.assertNotIn("web", self.ok("ps", "--filter", unwanted))
        self.ok("stop", "-t", "0", "web")
        settings = self.inspect("web")["NetworkSettings"]
        assert isinstance(settings, dict)
        self.assertEqual(settings["Ports"], {})

    def test_by_every_way(self) -> None:
        self.web("web", "-p", "80")
        number = self.port("web")
        for address in ("127.0.0.1", "::1"):
            self.assertTrue(self.served(address, number, "web"), address)

    def test_datagrams(self) -> None:
        self.ok("run", "-d", "--name", "echo", "-p", "53/udp", "busybox", "sleep", "100")
        pid = self.ok("inspect", "-f", "{{.State.Pid}}", "echo").strip()
        inside = in_namespace(
            Path(f"/proc/{pid}/ns/net"), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        )
        with inside:
            inside.settimeout(60)
            inside.bind(("", 53))
            for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                with socket.socket(family, socket.SOCK_DGRAM) as client:
                    client.settimeout(60)
                    client.connect((address, self.port("echo", "53/udp")))
                    client.send(b"ping")
                    data, sender = inside.recvfrom(99)
                    inside.sendto(data + b"pong", sender)
                    self.assertEqual(client.recv(99), b"pingpong", address)

    def test_restarts_keep_what_was_asked_for(self) -> None:
        self.web("web", "-p", "80")
        self.ok("restart", "-t", "0", "web")
        self.assertTrue(self.served("127.0.0.1", self.port("web"), "web"))

    def test_one_after_the_other_on_the_same_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            number = free.getsockname()[1]
        for _ in range(5):
            self.ok("run", "--rm", "-p", f"{number}:80", "busybox", "true")

    def test_taken(self) -> None:
        self.web("web", "-p", "80")
        number = self.port("web")
        done = self.server.run("run", "--name", "second", "-p", f"{number}:80", "busybox", "true")
        self.assertEqual(done.returncode, 125)
        text = (
            r"driver failed programming external connectivity on endpoint second \([0-9a-f]{64}\): "
            rf"Bind for 0.0.0.0:{number} failed: port is already allocated"
        )
        self.assertRegex(done.stderr.decode(), text)
        state = self.inspect("second")["State"]
        assert isinstance(state, dict)
        self.assertEqual((state["Status"], state["ExitCode"]), ("created", 128))
        self.assertIsNotNone(re.search(text, state["Error"]))
        self.ok("rm", "-f", "web")
        self.ok("start", "second")

    def test_a_start_that_fails_later_gives_ports_back(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            number = free.getsockname()[1]
        for _ in range(2):
            done = self.server.run("run", "--rm", "-p", f"{number}:80", "busybox", "nosuch")
            self.assertEqual(done.returncode, 127, done.stderr)
        with socket.create_server(("", number)):
            rules = subprocess.run(
                ("nft", "list", "table", "ip", self.bridge()), capture_output=True, check=True
            )
            self.assertNotIn(f". {number} :".encode(), rules.stdout)

    def test_many_at_once(self) -> None:
        names = [f"web{number}" for number in range(20)]
        with ThreadPoolExecutor(len(names)) as threads:
            done = list(
                threads.map(
                    lambda name: self.server.run(
                        "run", "-d", "--name", name, "-p", "80", "busybox", "sleep", "100"
                    ),
                    names,
                )
            )
        self.assertEqual([one.stderr for one in done if one.returncode], [])
        self.assertEqual(len({self.port(name) for name in names}), len(names))

    def test_options_that_exclude_others(self) -> None:
        cases = (
            (("--network", "container:x", "-p", "80"), "port publishing and the container type"),
            (("--network", "container:x", "--hostname", "h"), "hostname and the network mode"),
            (("--network", "container:x", "--add-host", "a:1.2.3.4"), "custom host-to-IP mapping"),
        )
        for options, text in cases:
            done = self.server.run("create", *options, "busybox", "true")
            self.assertIn(text.encode(), done.stderr)
        done = self.server.run("create", "--network", "host", "-p", "80:80", "busybox", "true")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"Published ports are discarded when using host network mode", done.stderr)


class CrashTests(PortsCase):
    def test_ports_outlive_the_server(self) -> None:
        self.web("web", "-p", "80")
        self.web("gone", "-p", "80")
        number, other = self.port("web"), self.port("gone")
        self.assertTrue(self.served("::1", number, "web"))
        pid = int(self.ok("inspect", "-f", "{{.State.Pid}}", "gone"))
        self.server.kill()
        self.assertEqual(self.get("127.0.0.1", number), "web")
        subprocess.run(("kill", "-9", str(pid)), check=True)
        self.server.start()
        self.assertEqual(self.port("web"), number)
        for address in ("127.0.0.1", "::1"):
            self.assertEqual(self.get(address, number), "web", address)
        with self.assertRaises(OSError), socket.create_server(("127.0.0.1", number)):
            pass
        self.web("next", "-p", f"{other}:80")
        self.assertTrue(self.served("127.0.0.1", other, "next"))


class JoinTests(PortsCase):
    def test_a_network_is_shared(self) -> None:
        self.web("web", "-p", "80", "--add-host", "far:192.0.2.9")
        number = self.port("web")
        self.assertTrue(self.served("127.0.0.1", number, "web"))
        join = ("run", "-d", "--name", "with", "--network", "container:web", "busybox")
        self.ok(*join, "sleep", "100")
        told = self.ok("exec", "with", "sh", "-c", "hostname; cat /etc/hosts; ls /sys/class/net")
        self.assertEqual(told.splitlines()[0], "web")
        self.assertIn("192.0.2.9\tfar", told)
        self.assertIn("eth0", told)
        self.ok("exec", "with", "sh", "-c", "echo 192.0.2.8 near >> /etc/hosts")
        self.assertIn("near", self.ok("exec", "web", "cat", "/etc/hosts"))
        found = self.inspect("with")
        identity = self.inspect("web")["Id"]
        host, settings = found["HostConfig"], found["NetworkSettings"]
        assert isinstance(host, dict)
        assert isinstance(settings, dict)
        self.assertEqual(host["NetworkMode"], f"container:{identity}")
        self.assertEqual((settings["Networks"], settings["Ports"]), ({}, {}))
        for name in ("HostsPath", "HostnamePath", "ResolvConfPath"):
            self.assertEqual(found[name], self.inspect("web")[name])

    def test_the_first_ends(self) -> None:
        self.web("web")
        self.ok(
            "run", "-d", "--name", "with", "--network", "container:web", "busybox", "sleep", "99"
        )
        self.server.kill()
        self.server.start()
        self.ok("rm", "-f", "web")
        links = ("exec", "with", "ls", "/sys/class/net")
        self.assertTrue(wait_until(lambda: self.ok(*links).split() == ["lo"]))
        done = self.server.run("restart", "-t", "0", "with")
        self.assertIn(b"No such container", done.stderr)

    def test_none_to_join(self) -> None:
        join = ("run", "--rm", "--network")
        done = self.server.run(*join, "container:nobody", "busybox", "true")
        self.assertEqual(done.returncode, 125)
        reason = b"joining network namespace of container: No such container: nobody"
        self.assertIn(reason, done.stderr)
        self.ok("create", "--name", "idle", "busybox", "true")
        done = self.server.run(*join, "container:idle", "busybox", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"cannot join network namespace of a non running container", done.stderr)

    def test_a_private_network_is_joined_too(self) -> None:
        self.ok("run", "-d", "--name", "lone", "--network", "none", "busybox", *WEB)
        join = ("run", "--rm", "--network", "container:lone", "busybox")
        self.assertEqual(self.ok(*join, "ls", "/sys/class/net").split(), ["lo"])
        get = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 127.0.0.1 80 | tail -n 1"
        self.assertNotEqual(self.ok(*join, "sh", "-c", get), "")


class HostTests(PortsCase):
    def test_names(self) -> None:
        name = self.ok("run", "--rm", "--network", "host", "busybox", "hostname").strip()
        self.assertEqual(name, socket.gethostname())

    def test_the_hosts_own_address(self) -> None:
        options = ("--add-host", "up:host-gateway")
        read = ("busybox", "sh", "-c", "grep up /etc/hosts; ip route | grep default")
        told = self.ok("run", "--rm", *options, *read).splitlines()
        self.assertEqual(told[0].split()[0], told[1].split()[2])
        read = ("busybox", "grep", "up", "/etc/hosts")
        none = self.ok("run", "--rm", "--network", "none", *options, *read)
        self.assertEqual(none.split(), told[0].split())


class AddressTests(PortsCase):
    def test_a_hardware_address(self) -> None:
        address = "02:42:00:00:00:99"
        read = ("busybox", "cat", "/sys/class/net/eth0/address")
        self.ok("run", "--name", "mac", "--mac-address", address, *read)
        self.assertEqual(self.ok("logs", "mac").strip(), address)
        self.ok("run", "-d", "--name", "up", "--mac-address", address, "busybox", "sleep", "99")
        inspected = "{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}"
        self.assertEqual(self.ok("inspect", "-f", inspected, "up").strip(), address)
        self.ok("exec", "up", "ping", "-c1", "-w3", self.ok("exec", "up", "sh", "-c", _GATEWAY))
        wrong = ("--mac-address", "01:42:00:00:00:99")
        done = self.server.run("run", "--rm", *wrong, "busybox", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"cannot set the MAC address", done.stderr)


class FixedAddressTests(PortsCase):
    def test_not_on_the_default_bridge(self) -> None:
        done = self.server.run("run", "--ip", "10.9.9.9", "busybox", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"user-specified IP address is supported on user-defined", done.stderr)
        self.assertIn(b"no configured subnet contains IP address 10.9.9.9", done.stderr)
        done = self.server.run("create", "--ip", "nope", "busybox", "true")
        self.assertIn(b'ParseAddr("nope"): unable to parse IP', done.stderr)

    def test_link_local_ones_are_given(self) -> None:
        wanted = ("--link-local-ip", "169.254.9.9")
        found = self.ok("run", "--rm", *wanted, "busybox", "ip", "-o", "-4", "addr", "show", "eth0")
        self.assertIn("169.254.9.9/16", found)
        self.assertEqual(len(found.splitlines()), 2)

    def test_a_network_that_is_not_there(self) -> None:
        done = self.server.run("run", "--name", "lost", "--network", "nosuch", "busybox", "true")
        self.assertEqual(done.returncode, 125)
        text = b"failed to set up container networking: network nosuch not found"
        self.assertIn(text, done.stderr)
        state = self.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "lost")
        self.assertEqual(state.strip(), "created 128")


class BesideDockerdTests(PortsCase):
    """A dockerd and a server of ours, together in a network of their own."""

    skip = server.missing() or dockerd.missing() or None

    def setUp(self) -> None:
        self.neighbour = Dockerd(bridge=True)
        self.neighbour._command = (*OWN_NETWORK, *self.neighbour._command)
        self.addCleanup(self.neighbour.remove)
        self.neighbour.start()
        self.neighbour.docker("import", "-", "busybox:latest", stdin=server.busybox_archive())
        assert self.neighbour._process is not None
        self.enter = ("nsenter", "--net", "--mount", "-t", str(self.neighbour._process.pid))
        super().setUp()

    def make_server(self) -> Server:
        return Server(prefix=self.enter)

    def inside(self, *command: str) -> str:
        """Run a command in the network of both and return its output, whatever its status."""
        done = subprocess.run((*self.enter, *command), capture_output=True, check=False)
        return done.stdout.decode()

    def rules(self) -> str:
        """Return the rules of iptables, dockerd's and all others."""
        return "".join(self.inside("iptables", "-t", one, "-S") for one in ("nat", "filter", "raw"))

    def test_both_publish_and_neither_harms_the_other(self) -> None:
        web = ("busybox", *WEB)
        self.neighbour.docker("run", "-d", "--hostname", "theirs", "-p", "8080:80", *web)
        before = self.rules()
        self.assertIn("--dport 8080", before)
        self.web("ours", "-p", "8081:80", "-p", "127.0.0.1:8082:80")
        self.assertEqual(self.rules(), before)
        for port, name in ((8080, "theirs"), (8081, "ours"), (8082, "ours")):
            for address in ("127.0.0.1", "[::1]"):
                if (port, address) != (8082, "[::1]"):
                    get = ("curl", "-s", "-m", "3", f"http://{address}:{port}/")
                    served = wait_until(lambda g=get, n=name: self.inside(*g).strip() == n)
                    self.assertTrue(served, (port, address))
        done = self.server.run("run", "--rm", "-p", "8080:80", "busybox", "true")
        self.assertIn(b"8080:", done.stderr)
        self.assertIn(b"address already in use", done.stderr)
        self.ok("rm", "-f", "ours")
        self.assertEqual(self.rules(), before)

    def test_containers_of_both_meet_by_published_ports_only(self) -> None:
        web = ("busybox", *WEB)
        theirs = self.neighbour.docker("run", "-d", "-p", "8080:80", *web).decode().strip()
        self.web("ours", "-p", "8081:80", "--expose", "81")
        gateway = self.inside("ip", "-4", "-o", "addr", "show", "docker0").split()[3].split("/")[0]
        get = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {} {} | head -n 1"
        published = get.format(gateway, 8080)
        self.assertIn("HTTP/1", self.ok("exec", "ours", "sh", "-c", published))
        exec_ = ("exec", theirs, "sh", "-c")
        published = get.format(gateway, 8081)
        self.assertIn(b"HTTP/1", self.neighbour.docker(*exec_, published))
        address = self.ok("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "ours").strip()
        self.assertTrue(address)
        self.assertEqual(self.neighbour.docker(*exec_, get.format(address, 80)), b"")
