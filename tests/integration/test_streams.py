"""Streams of a real server at the level of sockets: stalled clients, half-closes, kill -9."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Self

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dockerapi.wire.stdcopy import FrameDecoder
from tests.integration import server
from tests.integration.server import Server

MEGABYTE = 1024 * 1024


class Raw:
    """A hijacked connection of a client."""

    def __init__(self, path: str, target: str, body: object = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.socket.sendall(
            f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            + data
        )
        self.head, self.data = b"", b""
        while b"\r\n\r\n" not in self.head:
            self.head += self.socket.recv(65536)
        self.head, _, self.data = self.head.partition(b"\r\n\r\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def until(self, word: bytes) -> None:
        while word not in self.data:
            data = self.socket.recv(65536)
            assert data, self.data
            self.data += data

    def count(self) -> int:
        """Read to the end without keeping it; return how many bytes of payload there were."""
        decoder, size, data = FrameDecoder(), 0, self.data
        while True:
            size += sum(len(payload) for _, payload in decoder.feed(data))
            data = self.socket.recv(MEGABYTE)
            if not data:
                return size


def feed(pipe: IO[bytes], block: bytes, count: int) -> None:
    """Write `block` to `pipe` `count` times, and close it."""
    for _ in range(count):
        pipe.write(block)
    pipe.close()


class StreamsTests(SynchronousTestCase):
    def setUp(self) -> None:
        if reason := server.missing():
            raise SkipTest(reason)
        self.server = Server()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.server.import_busybox()
        self.addCleanup(self.check)

    def check(self) -> None:
        self.server.remove_containers()
        self.server.stop()
        self.assertEqual(self.server.leftovers(), [])

    def docker(self, *arguments: str) -> str:
        return self.server.docker(*arguments).decode().strip()

    def create(self, *arguments: str) -> str:
        return self.docker("create", "--network", "none", *arguments)

    def attach(self, name: str, query: str) -> Raw:
        raw = Raw(self.server.socket, f"/v1.41/containers/{name}/attach?{query}")
        self.addCleanup(raw.socket.close)
        return raw

    def resident(self) -> int:
        status = Path(f"/proc/{self.server.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def test_a_stalled_client_holds_up_its_container_and_no_more(self) -> None:
        script = "busybox dd if=/dev/zero bs=64k count=3200 2>/dev/null"
        for driver in ("json-file", "none"):
            name = self.create("--log-driver", driver, "busybox", "sh", "-c", script)
            stalled = self.attach(name, "stream=1&stdout=1")
            before = self.resident()
            self.docker("start", name)
            time.sleep(1)
            self.assertEqual(self.docker("inspect", "-f", "{{.State.Running}}", name), "true")
            self.assertLess(self.resident() - before, 16 * MEGABYTE)
            # Other containers are as usual.
            self.assertEqual(
                self.docker("run", "--rm", "--network=none", "busybox", "echo", "a"), "a"
            )
            other = self.attach(name, "stream=1&stdout=1")
            stalled.socket.close()
            self.assertGreater(other.count(), 190 * MEGABYTE)
            self.assertLess(self.resident() - before, 16 * MEGABYTE)
            self.assertEqual(self.docker("inspect", "-f", "{{.State.ExitCode}}", name), "0")
            self.docker("rm", name)

    def test_a_client_that_reads_on_loses_nothing(self) -> None:
        script = "busybox dd if=/dev/zero bs=64k count=320 2>/dev/null; echo end >&2"
        name = self.create("busybox", "sh", "-c", script)
        client = self.attach(name, "stream=1&stdout=1&stderr=1")
        self.docker("start", name)
        time.sleep(1)
        self.assertEqual(client.count(), 20 * MEGABYTE + 4)

    def test_input_that_nobody_reads_presses_back(self) -> None:
        name = self.create("-i", "busybox", "sh", "-c", "sleep 3; busybox wc -c")
        client = self.attach(name, "stream=1&stdin=1&stdout=1")
        self.docker("start", name)
        before, sent = self.resident(), 0
        client.socket.settimeout(1)
        while sent < 8 * MEGABYTE:
            try:
                sent += client.socket.send(bytes(65536))
            except TimeoutError:
                break
        self.assertLess(sent, 4 * MEGABYTE)
        self.assertLess(self.resident() - before, 8 * MEGABYTE)
        client.socket.settimeout(30)
        client.half_close()
        client.until(b"%d\n" % sent)

    def test_both_directions_at_once_are_whole(self) -> None:
        block = hashlib.sha256(b"").digest() * 2048
        count = 1600
        want = hashlib.md5(usedforsecurity=False)
        for _ in range(count):
            want.update(block)
        self.docker("run", "-d", "--network", "none", "--name", "exe", "busybox", "sleep", "1000")
        before = self.resident()
        for command in (
            ("run", "-i", "--rm", "--network", "none", "busybox", "cat"),
            ("exec", "-i", "exe", "cat"),
        ):
            with subprocess.Popen(
                ("docker", "-H", self.server.host, *command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as process:
                assert process.stdin is not None
                assert process.stdout is not None
                feeder = threading.Thread(target=feed, args=(process.stdin, block, count))
                feeder.start()
                got = hashlib.md5(usedforsecurity=False)
                while data := process.stdout.read(MEGABYTE):
                    got.update(data)
                feeder.join()
            self.assertEqual(got.hexdigest(), want.hexdigest())
            self.assertEqual(process.returncode, 0)
        self.assertLess(self.resident() - before, 24 * MEGABYTE)

    def test_streams_go_on_under_a_new_server(self) -> None:
        script = "while read x; do echo got $x; done; echo end"
        for options in (("-i",), ("-it",)):
            # Detached, so that the input belongs to no one client.
            arguments = ("run", "-d", *options, "--network", "none", "busybox")
            name = self.docker(*arguments, "sh", "-c", script)
            first = self.attach(name, "stream=1&stdin=1&stdout=1")
            first.socket.sendall(b"one\n")
            first.until(b"got one")
            self.server.kill()
            self.server.start()
            # Nobody was attached when it came back, and the input is open still.
            second = self.attach(name, "logs=1&stream=1&stdin=1&stdout=1")
            second.socket.sendall(b"two\n")
            second.until(b"got two")
            self.assertIn(b"got one", second.data)
            self.assertEqual(self.docker("exec", name, "echo", "in"), "in")
            self.docker("kill", name)
            self.assertEqual(self.docker("wait", name), "137")

    def test_a_refused_attach_looks_like_its_stream(self) -> None:
        refused = self.attach("nosuch", "stream=1")
        self.assertTrue(refused.head.startswith(b"HTTP/1.1 404 Not Found\r\n"))
        self.assertIn(b"Content-Type: application/vnd.docker.raw-stream", refused.head)
        refused.until(b"No such container: nosuch\r\n")

    def test_an_execs_exit_codes_reach_the_cli(self) -> None:
        self.docker("run", "-d", "--network", "none", "--name", "exe", "busybox", "sleep", "1000")
        for command, code in (
            (("sh", "-c", "exit 9"), 9),
            (("sh", "-c", "kill -9 $$"), 137),
            (("nosuch",), 127),
            (("/etc",), 126),
        ):
            done = self.server.run("exec", "exe", *command)
            self.assertEqual(done.returncode, code, (command, done.stderr))
