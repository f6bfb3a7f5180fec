"""The real docker CLI against the embedded engine: what a user does in a day."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration import server
from tests.integration.server import Server, wait_until
from tests.unixhttp import UnixConnection


class EmbeddedCase(SynchronousTestCase):
    """Each test has a server of its own."""

    skip = server.missing() or None
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.server = Server(*self.options)
        self.addCleanup(self.server.remove)
        self.server.start()
        self.server.import_busybox()
        self.addCleanup(self.server.remove_containers)

    def ok(self, *arguments: str, stdin: bytes = b"") -> str:
        done = self.server.run(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def status(self, name: str) -> str:
        return self.ok("inspect", "-f", "{{.State.Status}}", name).strip()


class RunTests(EmbeddedCase):
    def test_output_errors_and_status(self) -> None:
        done = self.server.run(
            "run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"
        )
        self.assertEqual((done.stdout, done.stderr, done.returncode), (b"out\n", b"err\n", 7))
        self.assertEqual(self.ok("ps", "-aq"), "")

    def test_input_is_passed_and_ended(self) -> None:
        text = os.urandom(300_000)
        done = self.server.run("run", "-i", "--rm", "busybox", "cat", stdin=text)
        self.assertEqual(done.stdout, text)

    def test_a_command_that_is_not_there(self) -> None:
        done = self.server.run("run", "--rm", "busybox", "nosuchcommand")
        self.assertEqual(done.returncode, 127)
        self.assertIn(b"executable file not found in $PATH", done.stderr)
        self.assertNotIn(b"Error waiting", done.stderr)
        self.assertEqual(self.ok("ps", "-aq"), "")

    def test_an_image_that_is_not_there(self) -> None:
        done = self.server.run("run", "--rm", "--pull", "never", "nosuch", "true")
        self.assertEqual(done.returncode, 125)
        self.assertIn(b"No such image: nosuch:latest", done.stderr)

    def test_environment_user_workdir_and_entrypoint(self) -> None:
        told = self.ok(
            "run", "--rm", "-e", "A=1", "-u", "nobody", "-w", "/w/d", "--hostname", "box",
            "--entrypoint", "sh", "busybox", "-c", "echo $A; id -un; pwd; hostname",
        )  # fmt: skip
        self.assertEqual(told.split(), ["1", "nobody", "/w/d", "box"])

    def test_one_that_ended_still_tells_its_network(self) -> None:
        template = "{{range .NetworkSettings.Networks}}{{.NetworkID}}{{end}}"
        self.server.run("run", "--name", "failed", "busybox", "nosuch")
        self.assertEqual(self.ok("inspect", "-f", template, "failed").strip(), "")
        self.ok("run", "--name", "box", "busybox", "true")
        network = self.ok("network", "inspect", "-f", "{{.Id}}", "bridge")
        self.assertEqual(self.ok("inspect", "-f", template, "box"), network)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.ok("inspect", "-f", template, "box"), network)

    def test_what_tells_that_it_is_a_container_of_dockers(self) -> None:
        self.ok("run", "--name", "box", "busybox", "test", "-e", "/.dockerenv")
        self.assertEqual(self.ok("diff", "box"), "")

    def test_binds_read_only_and_not(self) -> None:
        directory = self.mktemp()
        os.makedirs(directory)
        path = os.path.abspath(directory)
        self.ok("run", "--rm", "-v", f"{path}:/b", "busybox", "sh", "-c", "echo x > /b/f")
        with open(f"{path}/f") as file:
            self.assertEqual(file.read(), "x\n")
        done = self.server.run("run", "--rm", "-v", f"{path}:/b:ro", "busybox", "touch", "/b/g")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"Read-only file system", done.stderr)

    def test_networks_none_and_host(self) -> None:
        links = self.ok("run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net")
        self.assertEqual(links.split(), ["lo"])
        command = ("readlink", "/proc/self/ns/net")
        inside = self.ok("run", "--rm", "--network", "host", "busybox", *command)
        self.assertEqual(inside.strip(), os.readlink("/proc/self/ns/net"))

    def test_the_bridge_has_an_address_that_the_host_reaches(self) -> None:
        self.ok("run", "-d", "--name", "net", "busybox", "sleep", "100")
        (state,) = json.loads(self.ok("inspect", "net"))
        address = state["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        inside = self.ok("exec", "net", "ip", "-4", "addr", "show", "eth0")
        self.assertIn(f"inet {address}/", inside)
        gateway = state["NetworkSettings"]["Networks"]["bridge"]["Gateway"]
        ping = self.server.run("exec", "net", "ping", "-c1", "-w3", gateway)
        self.assertEqual(ping.returncode, 0, ping.stdout)

    def test_what_cannot_be_honoured_is_refused(self) -> None:
        for option, value, text in (
            ("--storage-opt", "size=1G", b"--storage-opt is supported only for overlay over xfs"),
            ("--runtime", "nosuch", b"unknown or invalid runtime name: nosuch"),
        ):
            done = self.server.run("create", option, value, "busybox", "true")
            self.assertEqual(done.returncode, 1)
            self.assertIn(text, done.stderr)

    def test_an_image_for_another_platform(self) -> None:
        options = ("--pull", "never", "--platform", "linux/s390x")
        done = self.server.run("create", *options, "busybox", "true")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"does not match the specified platform", done.stderr)


class NameServerTests(EmbeddedCase):
    options = ("--dns", "192.0.2.1", "--dns-search", "example.org", "--dns-opt", "ndots:3")

    def test_the_servers_option_is_for_containers_that_say_nothing(self) -> None:
        read = ("busybox", "cat", "/etc/resolv.conf")
        self.assertEqual(
            self.ok("run", "--rm", *read),
            "nameserver 192.0.2.1\nsearch example.org\noptions ndots:3\n",
        )
        own = self.ok("run", "--rm", "--dns", "192.0.2.2", *read)
        self.assertEqual(own.splitlines()[0], "nameserver 192.0.2.2")
        self.assertNotIn("192.0.2.1", own)


class DebugTests(SynchronousTestCase):
    skip = server.missing() or None

    def test_the_variables_of_a_server(self) -> None:
        ours = Server("--debug")
        self.addCleanup(ours.remove)
        ours.start()
        ours.docker("version")
        client = UnixConnection(ours.socket)
        self.addCleanup(client.close)
        client.request("GET", "/debug/vars")
        found = json.loads(client.getresponse().read())
        self.assertEqual(found["connections"], {"open": 1})
        self.assertEqual(found["routes"]["GET /version"]["answers"], 1)
        self.assertEqual(found["jobs"]["SystemVersion"]["started"], 1)


class LifeTests(EmbeddedCase):
    def test_a_container_from_its_start_to_its_removal(self) -> None:
        identity = self.ok("run", "-d", "--name", "cont", "busybox", "sleep", "100").strip()
        self.assertEqual(self.ok("ps", "-q", "--no-trunc").strip(), identity)
        self.assertIn("Up", self.ok("ps", "--format", "{{.Status}}"))
        done = self.server.run("rm", "cont")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot remove container", done.stderr)
        self.ok("stop", "-t", "0", "cont")
        self.assertEqual(self.status("cont"), "exited")
        self.assertEqual(self.ok("wait", "cont").strip(), "137")
        self.ok("start", "cont")
        self.assertEqual(self.status("cont"), "running")
        self.ok("kill", "-s", "KILL", "cont")
        self.assertEqual(self.ok("wait", "cont").strip(), "137")
        self.ok("rm", "cont")
        self.assertEqual(self.server.run("inspect", "cont").returncode, 1)

    def test_a_name_in_use_is_told(self) -> None:
        self.ok("create", "--name", "cont", "busybox", "true")
        done = self.server.run("create", "--name", "cont", "busybox", "true")
        self.assertIn(b'The container name "/cont" is already in use', done.stderr)

    def test_logs_and_following_them(self) -> None:
        script = "for i in 1 2 3; do echo $i; sleep 0.2; done; echo err >&2"
        self.ok("run", "-d", "--name", "log", "busybox", "sh", "-c", script)
        followed = self.server.run("logs", "-f", "log")
        self.assertEqual((followed.stdout, followed.stderr), (b"1\n2\n3\n", b"err\n"))
        self.assertEqual(self.ok("logs", "--tail", "2", "log"), "3\n")
        self.assertRegex(self.ok("logs", "-t", "log"), r"^\d{4}-\d\d-\d\dT[\d:]+\.\d{9}Z 1\n")

    def test_exec_in_every_way(self) -> None:
        self.ok("run", "-d", "--name", "exe", "busybox", "sleep", "100")
        self.assertEqual(self.ok("exec", "exe", "echo", "hi"), "hi\n")
        self.assertEqual(self.ok("exec", "-i", "exe", "cat", stdin=b"x" * 100_000), "x" * 100_000)
        self.assertEqual(self.server.run("exec", "exe", "sh", "-c", "exit 5").returncode, 5)
        missing = self.server.run("exec", "exe", "nosuch")
        self.assertEqual(missing.returncode, 127)
        options = ("-u", "nobody", "-w", "/tmp", "-e", "A=b")
        told = self.ok("exec", *options, "exe", "sh", "-c", "id -un; pwd; echo $A")
        self.assertEqual(told.split(), ["nobody", "/tmp", "b"])
        self.ok("exec", "-d", "exe", "touch", "/detached")
        self.assertTrue(
            wait_until(lambda: self.server.run("exec", "exe", "ls", "/detached").returncode == 0)
        )

    def test_a_pruned_image_keeps_the_name_its_container_was_made_by(self) -> None:
        self.ok("create", "--name", "made", "busybox", "true")
        self.ok("tag", "busybox", "zz:spare")
        told = self.ok("image", "prune", "--all", "--force")
        self.assertIn("untagged: zz:spare", told)
        self.assertNotIn("busybox", told)
        self.assertEqual(self.ok("ps", "-a", "--format", "{{.Image}}"), "busybox\n")

    def test_events_are_told_as_they_happen(self) -> None:
        with subprocess.Popen(
            ("docker", "-H", self.server.host, "events", "--format", "{{.Type}} {{.Action}}"),
            stdout=subprocess.PIPE,
        ) as events:
            assert events.stdout is not None
            time.sleep(0.3)
            self.ok("run", "--rm", "--name", "ev", "busybox", "true")
            seen: list[str] = []
            while not seen or seen[-1] != "container destroy":
                seen.append(events.stdout.readline().decode().strip())
            events.terminate()
        wanted = ["create", "attach", "start", "die", "destroy"]
        actions = [line.split()[1] for line in seen if line.startswith("container")]
        self.assertEqual(actions, wanted)


class TerminalTests(EmbeddedCase):
    def terminal(self, *arguments: str) -> tuple[subprocess.Popen[bytes], int]:
        main, terminal = pty.openpty()
        self.addCleanup(os.close, main)
        process = subprocess.Popen(
            ("docker", "-H", self.server.host, *arguments),
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        return process, main

    def read_until(self, descriptor: int, wanted: bytes) -> bytes:
        read = b""
        end = time.monotonic() + 60
        while wanted not in read:
            ready, _, _ = select.select([descriptor], [], [], end - time.monotonic())
            self.assertTrue(ready, read)
            read += os.read(descriptor, 65536)
        return read

    def test_a_shell_in_a_terminal_detach_and_attach_again(self) -> None:
        process, main = self.terminal("run", "-it", "--name", "term", "busybox", "sh")
        self.read_until(main, b"# ")
        os.write(main, b"tty; echo a$((1+1))b\n")
        self.assertIn(b"/dev/pts/0", self.read_until(main, b"a2b"))
        os.write(main, b"\x10\x11")
        process.wait(60)
        self.assertEqual(self.status("term"), "running")
        process, main = self.terminal("attach", "term")
        time.sleep(0.3)
        os.write(main, b"echo c$((2+3))d\n")
        self.read_until(main, b"c5d")
        os.write(main, b"exit 3\n")
        self.assertEqual(process.wait(60), 3)

    def test_exec_with_a_terminal(self) -> None:
        self.ok("run", "-d", "--name", "term", "busybox", "sleep", "100")
        process, main = self.terminal("exec", "-it", "term", "sh")
        self.read_until(main, b"# ")
        os.write(main, b"tty; exit 4\n")
        self.read_until(main, b"/dev/pts/")
        self.assertEqual(process.wait(60), 4)


class CrashTests(EmbeddedCase):
    def test_containers_outlive_the_server(self) -> None:
        script = 'trap "exit 9" TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'
        self.ok("run", "-d", "--name", "stays", "busybox", "sh", "-c", script)
        self.ok("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 0.5; exit 6")
        self.ok("run", "-d", "--rm", "--name", "goes", "busybox", "sleep", "0.5")
        self.server.kill()
        time.sleep(1)
        self.server.start()
        self.assertEqual(self.ok("ps", "--format", "{{.Names}}").split(), ["stays"])
        self.assertEqual(self.ok("wait", "ends").strip(), "6")
        self.assertEqual(self.server.run("inspect", "goes").returncode, 1)
        before = int(self.ok("logs", "--tail", "1", "stays"))
        self.assertTrue(wait_until(lambda: int(self.ok("logs", "--tail", "1", "stays")) > before))
        self.assertEqual(self.ok("exec", "stays", "echo", "hi"), "hi\n")
        self.ok("stop", "stays")
        self.assertEqual(self.ok("wait", "stays").strip(), "9")

    def test_the_server_ends_at_once_while_containers_and_execs_run(self) -> None:
        self.ok("run", "-d", "--name", "stays", "busybox", "sleep", "100")
        self.ok("exec", "-d", "stays", "sleep", "100")
        began = time.monotonic()
        self.server.stop()
        self.assertLess(time.monotonic() - began, 60)
        self.server.start()
        self.assertEqual(self.status("stays"), "running")

    def test_nothing_is_left_behind(self) -> None:
        self.ok("run", "--rm", "busybox", "true")
        self.ok("run", "-d", "--name", "left", "busybox", "sleep", "100")
        self.ok("exec", "left", "true")
        self.ok("rm", "-f", "left")
        self.server.stop()
        self.assertTrue(wait_until(lambda: not self.server.leftovers()), self.server.leftovers())
        self.server.start()
