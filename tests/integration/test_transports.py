"""The docker CLI and docker-py against the embedded engine over every kind of host."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import docker
from docker.tls import TLSConfig
from twisted.trial.unittest import SynchronousTestCase

from tests.integration import server
from tests.integration.server import Server, busybox_archive
from tests.server.certificates import Authority


class TransportCase(SynchronousTestCase):
    """Each test has a server of its own, on one transport."""

    skip = server.missing() or None

    host = ""
    env: dict[str, str] = {}

    def setUp(self) -> None:
        self.server = self.make()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.addCleanup(self.remove_containers)

    def make(self) -> Server:
        """Make the server, and set `host` and `env`."""
        raise NotImplementedError

    def client(self) -> docker.DockerClient:
        """Return docker-py's client."""
        raise NotImplementedError

    def docker(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return self.server.run(*arguments, stdin=stdin, env=self.env, host=self.host)

    def ok(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = self.docker(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def remove_containers(self) -> None:
        ids = self.ok("ps", "-aq").decode().split()
        if ids:
            self.ok("rm", "-f", *ids)


# What is mixed into a case is not one itself, which would be run.
if TYPE_CHECKING:
    _Case = TransportCase
else:
    _Case = object


class _Clients(_Case):
    """What clients do over a transport; mixed into a case for each.

    :ivar host: what clients call it by; `env` what the CLI needs to be let in.
    """

    server: Server
    host: str
    env: dict[str, str]

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.host, version="auto", timeout=30)

    def test_the_docker_cli(self) -> None:
        told = self.ok("version", "--format", "{{.Server.Platform.Name}}")
        self.assertEqual(told, b"dockerapi\n")
        self.ok("import", "-", "busybox:latest", stdin=busybox_archive())
        self.assertEqual(self.ok("run", "--rm", "busybox", "echo", "hi"), b"hi\n")
        text = os.urandom(300_000)
        self.assertEqual(self.ok("run", "-i", "--rm", "busybox", "cat", stdin=text), text)
        script = "echo out; echo err >&2; exit 7"
        done = self.docker("run", "--rm", "busybox", "sh", "-c", script)
        self.assertEqual((done.stdout, done.stderr, done.returncode), (b"out\n", b"err\n", 7))
        self.ok("run", "-d", "--name", "exe", "busybox", "sleep", "100")
        self.assertEqual(self.ok("exec", "-i", "exe", "cat", stdin=text), text)
        self.assertEqual(self.docker("exec", "exe", "sh", "-c", "exit 5").returncode, 5)

    def test_docker_py(self) -> None:
        client = self.client()
        self.addCleanup(client.close)
        self.assertTrue(client.ping())
        self.assertEqual(client.version()["Platform"]["Name"], "dockerapi")
        client.api.import_image_from_data(busybox_archive(), "busybox", "latest")
        output = client.containers.run("busybox", "echo hi", remove=True)
        self.assertEqual(output, b"hi\n")
        container = client.containers.run("busybox", "sleep 100", detach=True)
        self.assertEqual(container.exec_run("sh -c 'echo x; exit 5'"), (5, b"x\n"))
        container.remove(force=True)


class UnixTests(_Clients, TransportCase):
    def make(self) -> Server:
        made = Server()
        self.host = made.host
        return made


class TcpTests(_Clients, TransportCase):
    def make(self) -> Server:
        self.host = f"tcp://127.0.0.1:{free_port()}"
        return Server("--host", self.host)

    def test_attach_by_a_websocket(self) -> None:
        client = self.client()
        self.addCleanup(client.close)
        client.api.import_image_from_data(busybox_archive(), "busybox", "latest")
        container = client.containers.create(
            "busybox", "tr a-z A-Z", stdin_open=True, network_mode="none"
        )
        opened = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1}, ws=True)
        self.addCleanup(opened.close)
        opened.settimeout(30)
        container.start()
        opened.send_binary(b"some text\n")
        received = b""
        while len(received) < 10:
            # A websocket, whose `recv` has no size.
            part = cast(Any, opened).recv()
            received += part.encode() if isinstance(part, str) else part
        self.assertEqual(received, b"SOME TEXT\n")


class VerifiedTlsTests(_Clients, TransportCase):
    def make(self) -> Server:
        self.host = f"tcp://127.0.0.1:{free_port()}"
        directory = temporary_directory(self)
        authority = Authority(directory)
        certificate, key = authority.issue("server")
        for name, issued in zip(("cert", "key"), authority.issue("client"), strict=True):
            issued.rename(directory / f"{name}.pem")
        self.directory = directory
        self.env = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(directory)}
        return Server(
            *("--host", self.host, "--tlsverify"),
            *("--tlscacert", str(authority.path)),
            *("--tlscert", str(certificate), "--tlskey", str(key)),
        )

    def client(self) -> docker.DockerClient:
        # These would go before the authority that the client is given (in requests).
        bundles = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        self.patch(
            os, "environ", {name: os.environ[name] for name in os.environ if name not in bundles}
        )
        files = {name: str(self.directory / f"{name}.pem") for name in ("ca", "cert", "key")}
        tls = TLSConfig(client_cert=(files["cert"], files["key"]), ca_cert=files["ca"], verify=True)
        return docker.DockerClient(base_url=self.host, tls=tls, version="auto", timeout=30)

    def test_who_has_no_certificate_of_ours_is_refused(self) -> None:
        others = temporary_directory(self)
        authority = Authority(others)
        for name, issued in zip(("cert", "key"), authority.issue("client"), strict=True):
            issued.rename(others / f"{name}.pem")
        shutil.copy(self.directory / "ca.pem", others / "ca.pem")
        without = self.server.run(
            *("--tls", "--tlscacert", str(others / "ca.pem"), "version"), host=self.host
        )
        self.assertEqual(without.returncode, 1)
        self.assertNotIn(b"dockerapi", without.stdout)
        foreign = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(others)}
        stranger = self.server.run("version", env=foreign, host=self.host)
        self.assertEqual(stranger.returncode, 1)
        self.assertIn(b"tls: ", stranger.stderr)
        plain = self.server.run("version", host=self.host)
        self.assertEqual(plain.returncode, 1)
        self.assertEqual(self.docker("version").returncode, 0)


class ActivatedCase(TransportCase):
    """Servers that are started by the first who connects to one of their two sockets."""

    if shutil.which("systemd-socket-activate") is None:
        skip = "systemd-socket-activate is not installed"

    def activated(self, host: str) -> Server:
        directory = temporary_directory(self)
        self.other, used = str(directory / "one"), str(directory / "two")
        made = Server(
            hosts=(host,),
            prefix=(
                "systemd-socket-activate",
                *(f"--listen={self.other}", f"--listen={used}"),
                "--fdname=first:second",
            ),
        )
        made.socket, made.host = used, f"unix://{used}"
        self.host = made.host
        return made

    def answers(self, path: str) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(path)
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return client.recv(12) == b"HTTP/1.1 200"
            except OSError:
                return False


class InheritedSocketTests(_Clients, ActivatedCase):
    def make(self) -> Server:
        return self.activated("fd://")

    def test_all_of_them_are_served(self) -> None:
        self.assertTrue(self.answers(self.other))


class NamedSocketTests(_Clients, ActivatedCase):
    def make(self) -> Server:
        return self.activated("fd://second")

    def test_only_those_of_the_name_are_served(self) -> None:
        self.assertFalse(self.answers(self.other))


def free_port() -> int:
    """Return a TCP port of loopback that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def temporary_directory(case: SynchronousTestCase) -> Path:
    """Make a directory with a short name, for sockets; it is removed after the test."""
    directory = Path(tempfile.mkdtemp(prefix="da-"))
    case.addCleanup(shutil.rmtree, directory)
    return directory
