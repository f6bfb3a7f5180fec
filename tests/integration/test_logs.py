"""Logs of real containers: rotation under load and under kill -9, clients that stall, dockerd."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.integration.server import Server, missing, wait_until

#: Counts as fast as busybox can.
_COUNT = "i=0; while [ $i -lt {} ]; do echo line $i; i=$((i+1)); done"


class LogsCase(SynchronousTestCase):
    options: ClassVar[tuple[str, ...]] = ()

    def setUp(self) -> None:
        if reason := missing():
            raise SkipTest(reason)
        self.server = Server(*self.options)
        self.server.start()
        self.addCleanup(self.server.remove)
        self.server.import_busybox()
        self.addCleanup(self.server.remove_containers)

    def start(self, script: str, *options: str, name: str = "cx") -> str:
        """Start a container and return its id."""
        argv = ("run", "-d", "--network", "none", "--name", name, *options, "busybox")
        return self.server.docker(*argv, "sh", "-c", script).decode().strip()

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        argv = ("docker", "-H", self.server.host, *arguments)
        child = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert child.stdout is not None
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def files(self, identity: str) -> list[Path]:
        home = self.server.directory / "data" / "containers" / identity
        return sorted(path for path in home.glob("container.log*") if path.suffix != ".cut")

    def ended(self, name: str = "cx") -> bool:
        state = self.server.docker("inspect", "-f", "{{.State.Running}}", name)
        return state.strip() == b"false"

    def assert_counted(self, output: bytes, *, first: int | None = 0, last: int) -> None:
        """Check that `output` has each line once, in order, whole."""
        numbers = [int(line.removeprefix(b"line ")) for line in output.splitlines()]
        begin = numbers[0] if first is None else first
        self.assertEqual(numbers, list(range(begin, last)))


class RotationTests(LogsCase):
    limits = ("--log-opt", "max-size=100k", "--log-opt", "max-file=4")

    def all_set_aside_are_compressed(self, identity: str) -> bool:
        set_aside = [path for path in self.files(identity) if path.name != "container.log"]
        return bool(set_aside) and all(path.suffix == ".gz" for path in set_aside)

    def test_a_follower_misses_nothing(self) -> None:
        script = f"mkfifo /tmp/go; {_COUNT.format(30_000)}; read x < /tmp/go"
        identity = self.start(script, *self.limits, "--log-opt", "compress=true")
        follower = self.popen("logs", "-f", "cx")
        # How often it is rotated depends on how busy the machine is; at most three are kept.
        self.assertTrue(wait_until(lambda: self.all_set_aside_are_compressed(identity)))
        self.server.docker("exec", "cx", "sh", "-c", "echo > /tmp/go")
        output, _ = follower.communicate(timeout=60)
        self.assert_counted(output, last=30_000)
        self.assertTrue(wait_until(lambda: self.all_set_aside_are_compressed(identity)))
        self.assertIn(len(self.files(identity)), range(2, 5))
        kept = self.server.docker("logs", "cx")
        self.assert_counted(kept, first=None, last=30_000)
        self.assertGreater(kept.count(b"\n"), 4_000)
        for lines in (1, 2_000):
            tail = self.server.docker("logs", "--tail", str(lines), "cx")
            self.assert_counted(tail, first=30_000 - lines, last=30_000)
        self.server.docker("rm", "cx")
        self.assertTrue(wait_until(lambda: not self.files(identity)))

    def test_one_file_alone(self) -> None:
        identity = self.start(_COUNT.format(20_000), "--log-opt", "max-size=100k")
        self.assertTrue(wait_until(self.ended))
        self.assert_counted(self.server.docker("logs", "cx"), first=None, last=20_000)
        kept = [path for path in self.files(identity) if path.suffix != ".tmp"]
        self.assertLessEqual(len(kept), 2)

    def test_what_is_kept_begins_with_a_whole_line(self) -> None:
        """What writes much fills conmon's reads, which then end within lines."""
        script = f"yes {'text ' * 7} | head -n 400000; yes {'more ' * 7} | head -n 400000 >&2"
        for files in (1, 2):
            options = ("--log-opt", "max-size=100k", "--log-opt", f"max-file={files}")
            self.start(script, *options, name=f"c{files}")
            self.assertTrue(wait_until(lambda files=files: self.ended(f"c{files}")))
            shown = self.server.run("logs", f"c{files}")
            lines = {*shown.stdout.splitlines(), *shown.stderr.splitlines()}
            self.assertLessEqual(lines, {b"text " * 6 + b"text", b"more " * 6 + b"more"})
            self.assertGreater(len(shown.stderr), 100)

    def test_kill_at_any_moment_loses_nothing(self) -> None:
        options = ("--log-opt", "max-size=20k", "--log-opt", "max-file=1000")
        self.start(_COUNT.format(120_000), *options, "--log-opt", "compress=true")
        for turn in range(4):
            time.sleep(0.13 + 0.043 * turn)
            self.server.kill()
            self.server.start()
        follower = self.popen("logs", "-f", "cx")
        output, _ = follower.communicate(timeout=60)
        self.assert_counted(output, last=120_000)
        self.assertTrue(wait_until(self.ended))
        self.assert_counted(self.server.docker("logs", "cx"), last=120_000)

    def test_a_rotation_that_was_cut_in_two_is_finished(self) -> None:
        options = ("--log-opt", "max-size=1m", "--log-opt", "max-file=5")
        script = "echo line 0; read x < /tmp/go; echo line 1; sleep 0.5; echo line 2; sleep 100"
        identity = self.start(f"busybox mkfifo /tmp/go; {script}", *options)
        log = self.server.directory / "data" / "containers" / identity / "container.log"
        self.assertTrue(wait_until(lambda: log.stat().st_size > 0))
        self.server.kill()
        log.rename(f"{log}.1")
        self.server.start()
        self.assertTrue(wait_until(log.exists), "conmon was not told")
        follower = self.popen("logs", "-f", "cx")
        self.server.docker("exec", "cx", "sh", "-c", "echo > /tmp/go")
        assert follower.stdout is not None
        lines = b"".join(follower.stdout.readline() for _ in range(3))
        self.assert_counted(lines, last=3)
        self.assertEqual(log.read_bytes().count(b"\n"), 2)


class DefaultsTests(LogsCase):
    options = ("--log-opt", "max-size=50k", "--log-opt", "max-file=3")

    def test_the_servers_options_are_every_containers(self) -> None:
        identity = self.start(f"for n in 1 2 3 4; do {_COUNT.format(2_000)}; sleep 0.3; done")
        shown = self.server.docker("inspect", "-f", "{{json .HostConfig.LogConfig}}", "cx")
        self.assertEqual(
            shown.strip(),
            b'{"Type":"json-file","Config":{"max-file":"3","max-size":"50k"}}',
        )
        self.assertTrue(wait_until(self.ended))
        self.assertEqual(len(self.files(identity)), 3)
        path = self.server.docker("inspect", "-f", "{{.LogPath}}", "cx").decode().strip()
        self.assertEqual(path, str(self.files(identity)[0]))

    def test_drivers(self) -> None:
        self.start("echo x", "--log-driver", "none")
        got = self.server.run("logs", "cx")
        self.assertEqual(got.returncode, 1)
        self.assertIn(b"configured logging driver does not support reading", got.stderr)
        got = self.server.run(
            "run", "--network", "none", "--log-opt", "max-size=x", "busybox", "true"
        )
        self.assertEqual(got.returncode, 125)
        self.assertIn(b"failed to initialize logging driver: invalid size: 'x'", got.stderr)
        got = self.server.run("create", "--log-opt", "nope=x", "busybox", "true")
        self.assertIn(b"unknown log opt 'nope' for json-file log driver", got.stderr)
        self.start("echo x; echo y", "--log-driver", "local", name="cy")
        self.assertTrue(wait_until(lambda: self.ended("cy")))
        self.assertEqual(self.server.docker("logs", "cy"), b"x\ny\n")
        self.assertEqual(self.server.docker("inspect", "-f", "{{.LogPath}}", "cy"), b"\n")


class ViewsTests(LogsCase):
    def test_since_until_and_timestamps(self) -> None:
        self.start("for i in 0 1 2 3; do echo line $i; sleep 0.3; done")
        self.assertTrue(wait_until(self.ended))
        stamped = self.server.docker("logs", "-t", "cx").decode().splitlines()
        times = [line.split()[0] for line in stamped]
        for time_ in times:
            self.assertRegex(time_, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")
        self.assert_counted(self.server.docker("logs", "--since", times[1], "cx"), first=1, last=4)
        until = self.server.docker("logs", "--until", times[2], "cx")
        self.assert_counted(until, last=3)
        both = self.server.docker("logs", "--since", times[1], "--until", times[2], "cx")
        self.assert_counted(both, first=1, last=3)
        recent = self.server.docker("logs", "--since", "10m", "cx")
        self.assert_counted(recent, last=4)
        self.assertEqual(self.server.docker("logs", "--until", "10m", "cx"), b"")

    def test_any_bytes_and_long_lines(self) -> None:
        self.start(
            "busybox yes x | busybox tr -d '\\n' | busybox head -c 1048576; echo;"
            " printf 'a\\000b\\001c\\377\\n'; printf 'no end'",
            *("--label", "a=1", "--log-opt", "labels=a"),
        )
        self.assertTrue(wait_until(self.ended))
        output = self.server.docker("logs", "cx")
        self.assertEqual(output, b"x" * 1048576 + b"\na\0b\x01c\xff\nno end")
        stamped = self.server.docker("logs", "-t", "cx")
        self.assertEqual(len(stamped), len(output) + 3 * 31)
        self.assertEqual(
            re.sub(rb"^\S+ ", b"", self.server.docker("logs", "--details", "--tail", "2", "cx")),
            b"a\0b\x01c\xff\na=1 no end",
        )

    def test_a_terminal(self) -> None:
        self.start("echo a; printf b", "-t")
        self.assertTrue(wait_until(self.ended))
        self.assertEqual(self.server.docker("logs", "cx"), b"a\r\nb")

    def test_tail_counts_both_streams(self) -> None:
        self.start("for i in 1 2 3; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done")
        self.assertTrue(wait_until(self.ended))
        for tail, out, error in (
            ("0", b"", b""),
            ("1", b"", b"e3\n"),
            ("3", b"o3\n", b"e2\ne3\n"),
            ("all", b"o1\no2\no3\n", b"e1\ne2\ne3\n"),
            ("junk", b"o1\no2\no3\n", b"e1\ne2\ne3\n"),
        ):
            got = self.server.run("logs", "--tail", tail, "cx")
            self.assertEqual((got.stdout, got.stderr), (out, error), tail)

    def test_following_outlives_nothing(self) -> None:
        """It ends when the container stops, also where it is started again at once."""
        script = "trap 'exit 0' TERM; echo run; while :; do sleep 0.1; done"
        self.start(script)
        follower = self.popen("logs", "-f", "cx")
        self.server.docker("restart", "-t", "5", "cx")
        output, _ = follower.communicate(timeout=60)
        self.assertEqual(output, b"run\n")
        self.server.kill()
        self.server.start()
        follower = self.popen("logs", "-f", "cx")
        self.server.docker("stop", "-t", "5", "cx")
        output, _ = follower.communicate(timeout=60)
        self.assertEqual(output, b"run\nrun\n")


class StalledTests(LogsCase):
    size = 200_000_000

    def test_a_client_that_reads_nothing_costs_nothing(self) -> None:
        text = "0123456789" * 9
        self.start(f"sleep 0.5; busybox yes {text} | busybox head -c {self.size}", name="cx")
        client = self.connect("/containers/cx/logs?stdout=1&follow=1")
        before, most = self.memory(), 0

        def ended() -> bool:
            nonlocal most
            most = max(most, self.memory())
            return self.ended()

        self.assertTrue(wait_until(ended))
        self.assertLess(most - before, 16_000, "KiB of growth")
        got, lines = self.drain(client)
        self.assertEqual((got, lines), (self.size, -(-self.size // 91)))
        self.assertLess(self.memory() - before, 16_000)

    def memory(self) -> int:
        """Return how much memory the server has, in KiB."""
        text = Path(f"/proc/{self.server.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", text)
        assert found is not None
        return int(found[1])

    def connect(self, path: str) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(self.server.socket)
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: d\r\n\r\n".encode())
        return client

    def drain(self, client: socket.socket) -> tuple[int, int]:
        """Read a framed body to its end; return how many bytes and lines it has."""
        client.settimeout(30)
        file = client.makefile("rb")
        while file.readline().strip():
            pass
        size = lines = 0
        while head := file.read(8):
            payload = file.read(int.from_bytes(head[4:], "big"))
            size += len(payload)
            lines += payload.count(b"\n") or 1
        return size, lines
