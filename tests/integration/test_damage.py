"""What else can go wrong under a server: a reboot, a full disk, damaged state, missing programs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from tests.integration.load import call
from tests.integration.server import Server, missing, wait_until


class DamageTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        if reason := missing():
            raise SkipTest(reason)

    def server(self, *options: str, prefix: tuple[str, ...] = ()) -> Server:
        server = Server(*options, prefix=prefix)
        self.addCleanup(server.remove)
        return server

    def call(self, server: Server, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        return call(server.socket, method, target, body)

    def create(self, server: Server, name: str, *command: str, **host: Any) -> tuple[int, Any]:
        body = {
            "Image": "busybox",
            "Cmd": list(command),
            "HostConfig": {"NetworkMode": "none", **host},
        }
        return self.call(server, "POST", f"/containers/create?name={name}", body)

    def state(self, server: Server, name: str) -> dict[str, Any]:
        status, answer = self.call(server, "GET", f"/containers/{name}/json")
        self.assertEqual(status, 200, answer)
        return dict(answer["State"])

    def change(self, server: Server, statement: str, *values: Any) -> None:
        """Change the database of a server that does not run."""
        connection = sqlite3.connect(server.directory / "data" / "state.db")
        with connection:
            self.assertEqual(connection.execute(statement, values).rowcount, 1)
        connection.close()

    def test_a_reboot_of_the_host(self) -> None:
        server = self.server()
        server.start()
        server.import_busybox()
        server.docker("run", "-d", "--name", "lasting", "busybox", "sleep", "1000")
        server.docker("run", "-d", "--name", "paused", "busybox", "sleep", "1000")
        server.docker("run", "-d", "--rm", "--name", "volatile", "busybox", "sleep", "1000")
        server.docker("pause", "paused")
        server.docker("create", "--name", "made", "busybox", "true")
        before = time.time()
        server.kill()
        self._reboot(server)
        server.start()
        for name in ("lasting", "paused"):
            state = self.state(server, name)
            self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 255))
            self.assertGreater(state["FinishedAt"][:10], "2020")
        self.assertGreaterEqual(time.time(), before)
        self.assertEqual(self.state(server, "made")["Status"], "created")
        self.assertEqual(self.call(server, "GET", "/containers/volatile/json")[0], 404)
        self.assertEqual(server.docker("start", "-a", "made"), b"")
        server.docker("start", "lasting", "paused")
        self.assertTrue(self.state(server, "lasting")["Running"])
        server.remove_containers()
        server.stop()
        self.assertEqual(server.leftovers(), [])

    def _reboot(self, server: Server) -> None:
        """Leave of a server's run only what a reboot leaves: what is on disk."""
        ids = os.listdir(server.directory / "run" / "c")
        monitored = str(server.directory / "run").encode()
        for group in Path("/sys/fs/cgroup").glob("freezer/dockerapi/*/freezer.state"):
            if group.parent.name in ids:
                # With cgroups of version 1 what is frozen cannot be killed.
                group.write_text("THAWED")
        for _ in range(3):
            for pid in self._pids(monitored, ids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not self._pids(monitored, ids), 2.0)
        self.assertEqual(self._pids(monitored, ids), [])
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{server.directory}/"):
                subprocess.run(("umount", "-l", line.split()[1]), check=True)
        shutil.rmtree(server.directory / "run")

    def _pids(self, monitored: bytes, ids: list[str]) -> list[int]:
        """Return the monitors with this run root, and the processes of these containers."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line, groups = (entry / "cmdline").read_bytes(), (entry / "cgroup").read_text()
                except OSError:
                    continue
                ours = any(f"/dockerapi/{identity}" in groups for identity in ids)
                if line and (monitored in line or ours):
                    found.append(int(entry.name))
        return found

    def test_everything_works_on_under_a_new_server(self) -> None:
        """What ran under the old server is read, written to, waited for and stopped by the new."""
        server = self.server()
        server.start()
        server.import_busybox()
        run = ("run", "-d", "--network=none")
        echo = ("sh", "-c", "n=0; while read -r line; do n=$((n+1)); echo $n $line; done; exit 5")
        server.docker(*run, "-i", "--name", "echo", "busybox", *echo)
        server.docker(*run, "--name", "ends", "busybox", "sh", "-c", "sleep 0.5; exit 7")
        server.docker(*run, "--rm", "--name", "goes", "busybox", "sh", "-c", "sleep 0.5; exit 7")
        polite = ("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done")
        server.docker(*run, "--name", "polite", "busybox", *polite)
        server.kill()
        time.sleep(1.0)
        server.start()
        state = self.state(server, "ends")
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 7))
        times = [state[name].partition(".")[0] for name in ("StartedAt", "FinishedAt")]
        begun, ended = (time.mktime(time.strptime(one, "%Y-%m-%dT%H:%M:%S")) for one in times)
        self.assertLessEqual(ended - begun, 1.0)
        self.assertEqual(self.call(server, "GET", "/containers/goes/json")[0], 404)
        follower = self._client(server, "logs", "-f", "echo")
        waiter = self._client(server, "wait", "echo")
        first = self._client(server, "attach", "echo")
        assert first.stdin is not None
        first.stdin.write(b"one\n")
        first.stdin.flush()
        assert first.stdout is not None
        self.assertEqual(first.stdout.readline(), b"1 one\n")
        self.assertEqual(server.docker("exec", "echo", "echo", "in"), b"in\n")
        first.kill()
        self.assertTrue(self.state(server, "echo")["Running"])
        server.docker("kill", "echo")
        self.assertEqual(waiter.communicate(timeout=60)[0], b"137\n")
        self.assertEqual(follower.communicate(timeout=60)[0], b"1 one\n")
        server.docker("stop", "polite")
        self.assertEqual(self.state(server, "polite")["ExitCode"], 9)
        server.docker("start", "polite")
        server.remove_containers()
        server.stop()
        self.assertEqual(server.leftovers(), [])

    def _client(self, server: Server, *arguments: str) -> subprocess.Popen[bytes]:
        client = subprocess.Popen(
            ("docker", "-H", server.host, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        return client

    def test_a_monitor_that_is_killed(self) -> None:
        server = self.server()
        server.start()
        server.import_busybox()
        ends = ("sh", "-c", "sleep 1.5; exit 7")
        server.docker("run", "-d", "--network=none", "--name", "on", "busybox", *ends)
        identity = self.call(server, "GET", "/containers/on/json")[1]["Id"]
        monitor = server.directory / "run" / "c" / identity / "conmon.pid"
        os.kill(int(monitor.read_text()), signal.SIGKILL)
        time.sleep(0.1)
        self.assertTrue(self.state(server, "on")["Running"])
        status, answer = self.call(server, "POST", "/containers/on/attach?stream=1&stdout=1")
        self.assertEqual(status, 500)
        self.assertIn("its monitor (conmon) is gone", str(answer))
        self.assertIn(server.docker("wait", "on"), (b"7\n", b"255\n"))
        self.assertFalse(self.state(server, "on")["Running"])
        server.docker("rm", "on")
        server.stop()
        self.assertEqual(server.leftovers(), [])

    def test_damaged_rows_are_dead_and_can_be_removed(self) -> None:
        server = self.server()
        server.start()
        server.import_busybox()
        for name in ("whole", "config", "host", "status"):
            server.docker("run", "-d", "--network=none", "--name", name, "busybox", "sleep", "1000")
        server.kill()
        self.change(server, "UPDATE containers SET config = '{\"Cm' WHERE name = 'config'")
        self.change(server, "UPDATE containers SET host_config = '[1]' WHERE name = 'host'")
        self.change(server, "UPDATE containers SET status = 'odd' WHERE name = 'status'")
        server.start()
        self.assertTrue(self.state(server, "whole")["Running"])
        for name in ("config", "host", "status"):
            state = self.state(server, name)
            self.assertEqual((state["Status"], state["Dead"]), ("dead", True))
            self.assertIn("damaged", state["Error"])
            self.assertEqual(self.call(server, "POST", f"/containers/{name}/start")[0], 409)
        self.assertEqual(len(server.docker("ps", "-aq", "--filter", "status=dead").split()), 3)
        server.docker("rm", "config", "host")
        server.docker("rm", "-f", "status")
        server.docker("exec", "whole", "true")
        server.docker("rm", "-f", "whole")
        self.assertEqual(server.docker("ps", "-aq"), b"")
        server.stop()
        self.assertEqual(server.leftovers(), [])

    def test_state_that_cannot_be_used_is_told(self) -> None:
        def damage(path: Path) -> None:
            path.write_bytes(os.urandom(8192))

        def renew(path: Path) -> None:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA user_version = 9999")
            connection.close()

        broken: list[tuple[Server, str]] = []
        ways: list[tuple[Callable[[Path], None], str]] = [
            (damage, "cannot be used"),
            (renew, "newer"),
        ]
        for spoil, words in ways:
            server = self.server()
            (server.directory / "data").mkdir()
            spoil(server.directory / "data" / "state.db")
            broken.append((server, words))
        first = self.server()
        first.start()
        second = self.server("--data-root", str(first.directory / "data"))
        broken.append((second, f"in use by another server (process {first.pid})"))
        for server, _ in broken:
            server.launch()
        for server, words in broken:
            self.assertEqual(server.wait(), 1)
            self.assertIn(words, server.log)
            self.assertNotIn("Traceback", server.log)
        first.import_busybox()
        self.assertEqual(first.docker("run", "--rm", "busybox", "echo", "on"), b"on\n")
        first.stop()
        self.assertEqual(first.leftovers(), [])

    def test_programs_that_are_missing(self) -> None:
        whole = self.server()
        whole.start()
        whole.import_busybox()
        whole.docker("run", "-d", "--network=none", "--name", "on", "busybox", "sleep", "1000")
        whole.stop()
        hidden = ("conmon",), ("runc", "crun")
        for names in hidden:
            paths = " ".join(path for name in names if (path := shutil.which(name)))
            script = f'for one in {paths}; do mount --bind /dev/null $one; done; exec "$@"'
            prefix = ("unshare", "-m", "--propagation", "slave", "sh", "-c", script, "-")
            server = Server(prefix=prefix, directory=whole.directory)
            server.start()
            warning, *_ = [
                one
                for one in self.call(server, "GET", "/info")[1]["Warnings"] or ()
                if "install" in one and names[0] in one
            ]
            self.assertIn(names[0], warning)
            self.assertTrue(self.state(server, "on")["Running"])
            status, answer = self.create(server, f"new-{names[0]}", "true")
            self.assertEqual(status, 201)
            status, answer = self.call(server, "POST", f"/containers/new-{names[0]}/start")
            self.assertEqual(status, 500)
            self.assertIn("install", answer["message"])
            server.stop()
        whole.start()
        self.assertEqual(whole.docker("exec", "on", "echo", "still"), b"still\n")
        whole.remove_containers()
        whole.stop()
        self.assertEqual(whole.leftovers(), [])

    def test_a_full_disk(self) -> None:
        server = self.server()
        data = server.directory / "data"
        data.mkdir()
        subprocess.run(("mount", "-t", "tmpfs", "-o", "size=24m", "none", data), check=True)
        server.start()
        server.import_busybox()
        chatter = ("sh", "-c", "while sleep 0.05; do echo line; done")
        server.docker("run", "-d", "--network=none", "--name", "on", "busybox", *chatter)
        server.docker("create", "--network=none", "--name", "made", "busybox", "true")
        _fill(data / "ballast")
        for arguments in (
            ("import", "-", "more:latest"),
            ("create", "--name", "new", "busybox", "true"),
            ("start", "made"),
        ):
            # Files of a few kilobytes may still fit; what is larger never does.
            failed = server.run(*arguments, stdin=os.urandom(4 << 20))
            self.assertEqual(failed.returncode, 1, arguments)
            self.assertIn(b"no space left on device", failed.stderr)
        self.assertEqual(self.state(server, "made")["Status"], "created")
        self.assertEqual(self.call(server, "GET", "/containers/new/json")[0], 404)
        # What runs runs on, and everything that gives space back works.
        self.assertEqual(server.docker("exec", "on", "echo", "fine"), b"fine\n")
        server.docker("logs", "on")
        server.docker("stop", "-t", "0", "on")
        self.assertEqual(self.state(server, "on")["ExitCode"], 137)
        server.docker("rm", "made")
        # A new server on the full disk knows everything, too.
        server.kill()
        server.start()
        self.assertEqual(self.state(server, "on")["ExitCode"], 137)
        server.docker("rm", "on")
        (data / "ballast").unlink()
        self.assertEqual(server.docker("run", "--rm", "busybox", "echo", "on"), b"on\n")
        server.stop()
        subprocess.run(("umount", data), check=True)
        self.assertEqual(server.leftovers(), [])


def _fill(path: Path) -> None:
    """Fill the file system of `path`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, bytes(4096))
    os.close(descriptor)
