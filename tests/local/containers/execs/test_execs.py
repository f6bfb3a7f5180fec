"""Exec with real containers."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.execs import operations as execs
from dockerapi.local.containers.execs import process as execprocess
from dockerapi.local.containers.execs.direct import Direct
from dockerapi.local.containers.execs.monitored import Watched
from dockerapi.local.containers.health.probe import ExecProbe
from dockerapi.local.containers.runtime.runtime import Runtime
from dockerapi.local.containers.streams.hub import WAITING
from dockerapi.model.execs import ExecCreateRequest
from dockerapi.model.versions import Version
from tests.local.containers.streams.support import Client, StreamsCase, until


class ExecCase(StreamsCase):
    async def make(self, *command: str, **config: Any) -> str:
        if not any(one.name == "cx" for one in self.rig.containers.registry):
            await self.rig.create("sleep", "100", name="cx")
            await self.rig.job("ContainerStart", "cx")
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), **config}
        return str((await self.rig.job("ContainerExec", "cx", body=body))["Id"])

    def files(self) -> list[Path]:
        """Return what there is of execs in the container's directory."""
        run = self.rig.layout.container_run(self.rig.containers.registry.get("cx").id)
        return list((run / "execs").glob("*"))

    async def inspect(self, exec_id: str) -> dict[str, Any]:
        return dict(await self.rig.job("ExecInspect", exec_id))

    async def start(self, exec_id: str, client: Client, **body: Any) -> None:
        await self.serve(await self.rig.job("ExecStart", exec_id, body=body), client)


class ExecTests(ExecCase):
    async def test_output_and_code(self) -> None:
        exec_id = await self.make("sh", "-c", "echo out; echo err >&2; exit 7")
        client = Client()
        await self.start(exec_id, client)
        self.assertEqual(client.frames(), {1: b"out\n", 2: b"err\n"})
        found = await self.inspect(exec_id)
        self.assertEqual((found["ExitCode"], found["Running"]), (7, False))
        await until(lambda: "exec_die" in self.rig.actions())
        self.assertEqual(
            self.rig.actions()[2:],
            [
                "exec_create: sh -c echo out; echo err >&2; exit 7",
                "exec_start: sh -c echo out; echo err >&2; exit 7",
                "exec_die",
            ],
        )
        again = await self.fails(
            Conflict, self.rig.job("ExecStart", exec_id, body={"Detach": True})
        )
        self.assertEqual(again, f"exec command {exec_id} has already run")
        client = Client()
        await self.start(exec_id, client)
        self.assertEqual(client.frames(), {1: f"{again}\r\n".encode()})

    async def test_input_and_its_end(self) -> None:
        client = Client()
        data = os.urandom(200_000)
        client.send(data)
        client.send(b"")
        await self.start(await self.make("cat", AttachStdin=True), client)
        self.assertEqual(client.frames(), {1: data})

    async def test_environment_user_directory_and_terminal(self) -> None:
        exec_id = await self.make(
            "sh",
            "-c",
            "echo $A $PWD $TERM; id; until busybox stty size | busybox grep 97; do :; done",
            Tty=True,
            Env=["A=b"],
            User="user",
            WorkingDir="/tmp",
        )
        client = Client()
        await self.start(exec_id, client, Tty=True, ConsoleSize=[31, 97])
        self.assertIn(b"b /tmp xterm\r\nuid=1000(user) gid=100(users)", client.data)
        self.assertIn(b"31 97\r\n", client.data)

    async def test_detached(self) -> None:
        exec_id = await self.make("sh", "-c", "exit 4")
        self.assertIsNone(await self.rig.job("ExecStart", exec_id, body={"Detach": True}))
        while (await self.inspect(exec_id))["Running"]:
            await deferLater(reactor, 0.02)
        self.assertEqual((await self.inspect(exec_id))["ExitCode"], 4)

    async def test_resizing_waits_for_the_process(self) -> None:
        """As aiodocker asks: with the connection, at which the process does not run yet."""
        script = "until busybox stty size | busybox grep '26 92'; do :; done"
        exec_id = await self.make("sh", "-c", script, Tty=True)
        resizing = Deferred.fromCoroutine(self.rig.job("ExecResize", exec_id, query="h=26&w=92"))
        client = Client()
        await self.start(exec_id, client, Tty=True)
        self.assertIn(b"26 92\r\n", client.data)
        self.assertIsNone(await resizing)
        again = self.rig.job("ExecResize", exec_id, query="h=26&w=92")
        words = await self.fails(Conflict, again)
        self.assertEqual(words, f"exec process {exec_id} is not running")

    async def test_resizing_waits_for_no_process_that_cannot_be(self) -> None:
        exec_id = await self.make("nosuch", Tty=True)
        resizing = Deferred.fromCoroutine(self.rig.job("ExecResize", exec_id, query="h=1&w=1"))
        await self.start(exec_id, Client(), Tty=True)
        await self.fails(Conflict, resizing)
        self.patch(execs, "PATIENCE", 0.01)
        exec_id = await self.make("true", Tty=True)
        resize = self.rig.job("ExecResize", exec_id, query="h=1&w=1")
        words = await self.fails(EngineError, resize)
        self.assertEqual(words, "timeout waiting for exec session ready")

    async def test_a_command_that_is_missing(self) -> None:
        exec_id = await self.make("nosuch")
        client = Client()
        await self.start(exec_id, client)
        self.assertIn(b"OCI runtime exec failed: exec failed", client.frames()[1])
        self.assertIn((await self.inspect(exec_id))["ExitCode"], (126, 127))

    async def test_no_container_and_no_exec(self) -> None:
        await self.rig.create("true", name="stopped")
        message = await self.fails(
            Conflict, self.rig.job("ContainerExec", "stopped", body={"Cmd": ["true"]})
        )
        self.assertRegex(message, "^container [0-9a-f]{64} is not running$")
        self.assertEqual(
            await self.fails(NotFound, self.rig.job("ExecInspect", "nosuch")),
            "No such exec instance: nosuch",
        )
        with_no_command = self.rig.job("ContainerExec", "stopped", body={})
        self.assertEqual(
            await self.fails(InvalidParameter, with_no_command), "No exec command specified"
        )

    async def test_nothing_stays_of_an_exec(self) -> None:
        exec_id = await self.make("true", Tty=True)
        await self.start(exec_id, Client(), Tty=True)
        await until(lambda: not self.files())
        await self.fails(EngineError, self.rig.job("ExecResize", exec_id, query="h=1&w=1"))

    async def test_an_end_is_told_in_order(self) -> None:
        for code in range(5):
            exec_id = await self.make("sh", "-c", f"exit {code}")
            await self.start(exec_id, Client())
            # Right when the stream has ended.
            self.assertEqual(self.rig.actions()[-1], "exec_die")
            self.assertEqual((await self.inspect(exec_id))["ExitCode"], code)

    async def test_frames_are_as_the_start_says(self) -> None:
        client = Client()
        await self.start(await self.make("echo", "hi", Tty=True), client, Tty=False)
        self.assertEqual(client.frames(), {1: b"hi\r\n"})
        client = Client()
        await self.start(await self.make("echo", "hi"), client, Tty=True)
        self.assertEqual(client.data, b"hi\n")

    async def test_a_detached_exec_has_no_input_and_never_blocks(self) -> None:
        for terminal in (False, True):
            script = "busybox dd if=/dev/zero bs=64k count=64 2>/dev/null; "
            script += "exit 6" if terminal else "cat; exit 6"
            exec_id = await self.make("sh", "-c", script, AttachStdin=True, Tty=terminal)
            await self.rig.job("ExecStart", exec_id, body={"Detach": True, "Tty": terminal})
            while (found := await self.inspect(exec_id))["Running"]:
                await deferLater(reactor, 0.02)
            self.assertEqual(found["ExitCode"], 6)

    async def test_a_terminals_client_leaves_with_its_input(self) -> None:
        exec_id = await self.make("sh", "-c", "read x; sleep 100", Tty=True, AttachStdin=True)
        client = Client()
        client.send(b"")
        await self.start(exec_id, client, Tty=True)
        self.assertTrue((await self.inspect(exec_id))["Running"])

    async def test_keys_leave(self) -> None:
        exec_id = await self.make(
            "sh", "-c", "sleep 100", Tty=True, AttachStdin=True, DetachKeys="ctrl-x"
        )
        client = Client()
        client.send(b"\x18")
        await self.start(exec_id, client, Tty=True)
        found = await self.inspect(exec_id)
        self.assertEqual((found["Running"], found["DetachKeys"]), (True, "GA=="))
        self.assertEqual(self.rig.actions()[-1], "exec_detach")

    async def test_no_stream_is_taken(self) -> None:
        exec_id = await self.make("sleep", "100", AttachStdout=False, AttachStderr=False)
        await self.start(exec_id, Client())
        self.assertTrue((await self.inspect(exec_id))["Running"])

    async def test_what_cannot_be_run(self) -> None:
        rows: list[tuple[list[str], dict[str, Any], int, str]] = [
            (["/nosuch"], {}, 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
            (["/etc/passwd"], {}, 126, 'exec: "/etc/passwd": permission denied'),
            (["true"], {"WorkingDir": "/no"}, 127, 'chdir to cwd ("/no") set in config.json'),
        ]
        for command, config, code, text in rows:
            exec_id = await self.make(*command, **config)
            client = Client()
            await self.start(exec_id, client)
            told = client.frames()[1].decode()
            start = "OCI runtime exec failed: exec failed: unable to start container process: "
            self.assertTrue(told.startswith(start + text), told)
            self.assertTrue(told.endswith(": unknown\r\n"), told)
            self.assertEqual((await self.inspect(exec_id))["ExitCode"], code)
        client = Client()
        await self.start(await self.make("true", WorkingDir="tmp"), client)
        self.assertIn("Cwd must be an absolute path", client.frames()[1].decode())

    async def test_whom_the_container_does_not_know(self) -> None:
        """It is told when the exec is made, and there is none then."""
        known = await self.make("true", User="0:0")
        for user, text in (
            ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
            ("0:nosuch", "unable to find group nosuch: no matching entries in group file"),
            ("-1", "uids and gids must be in range 0-2147483647"),
        ):
            body = {"Cmd": ["true"], "User": user}
            refused = self.rig.job("ContainerExec", "cx", body=body)
            self.assertEqual(await self.fails(InvalidParameter, refused), text)
        self.assertEqual(self.rig.containers.registry.get("cx").exec_ids, [known])

    async def test_what_cannot_be_run_in_a_terminal(self) -> None:
        for program, code, text in (
            ("nosuch", 127, 'exec: "nosuch": executable file not found in $PATH: unknown'),
            ("/nosuch", 127, 'exec: "/nosuch": stat /nosuch: no such file or directory'),
            ("/etc/passwd", 126, 'exec: "/etc/passwd": permission denied'),
            ("/etc", 126, 'exec: "/etc": permission denied'),
        ):
            exec_id = await self.make(program, Tty=True)
            client = Client()
            await self.start(exec_id, client, Tty=True)
            self.assertIn(text, client.data.decode())
            self.assertEqual((await self.inspect(exec_id))["ExitCode"], code)

    async def test_a_container_that_ends_ends_its_execs(self) -> None:
        exec_id = await self.make("sh", "-c", "echo in; sleep 100")
        waiting = await self.make("true")
        client = Client()
        served = Deferred.fromCoroutine(self.start(exec_id, client))
        await until(lambda: client.frames() == {1: b"in\n"})
        await self.rig.job("ContainerKill", "cx")
        await served
        self.assertEqual((await self.inspect(exec_id))["ExitCode"], 137)
        await until(lambda: not self.rig.containers.registry.get("cx").state.running)
        # One that was never started goes with the run that knew it.
        for name in ("ExecInspect", "ExecStart"):
            message = await self.fails(NotFound, self.rig.job(name, waiting, body={}))
            self.assertEqual(message, f"No such exec instance: {waiting}")
        await until(lambda: waiting not in self.rig.containers.registry.get("cx").exec_ids)
        await self.rig.job("ContainerStart", "cx")
        await self.fails(NotFound, self.rig.job("ExecStart", waiting, body={}))

    async def test_sizes_count_since_their_version(self) -> None:
        for version, want in ((Version(1, 41), None), (Version(1, 42), (12, 34))):
            body = {"Cmd": ["x"], "ConsoleSize": [12, 34], "Tty": True}
            request = ExecCreateRequest
            envelope = self.rig.make_job("ContainerExec", "cx", body=body).envelope
            config = (await request.decode(envelope, ["cx"], version)).config
            self.assertEqual(config.size, want)

    async def test_one_whose_client_leaves_while_it_is_made(self) -> None:
        # Long enough to be followed, and one that cannot be run.
        for command, code in ((("sh", "-c", "sleep 0.5; exit 9"), 9), (("nosuch",), 127)):
            exec_id = await self.make(*command)
            served = Deferred.fromCoroutine(self.start(exec_id, Client()))
            ended = Deferred.fromCoroutine(self.execs._execs[exec_id].ended())
            self.assertFalse(served.called)
            served.cancel()
            await self.assertFailure(served, CancelledError)
            await ended
            self.assertEqual((await self.inspect(exec_id))["ExitCode"], code)
        container = self.rig.containers.registry.get("cx")
        self.assertEqual(container.exec_ids, [])
        await until(lambda: not self.files())

    async def test_what_the_host_refuses_ends_it(self) -> None:
        exec_id = await self.make("true")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(self.execs._processes, "_describe", full)
        client = Client()
        await self.start(exec_id, client)
        self.assertIn(b"No space left on device", client.frames()[1])
        self.assertEqual((await self.inspect(exec_id))["ExitCode"], 126)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    async def test_one_that_cannot_be_followed_ends(self) -> None:
        async def lose(*_: object) -> None:
            raise ValueError("lost")

        for way in (Direct, Watched):
            self.patch(way, "end", lose)
        exec_id = await self.make("sleep", "0.2")
        await self.start(exec_id, Client())
        self.assertEqual((await self.inspect(exec_id))["ExitCode"], 255)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_what_ended_a_while_ago_is_forgotten(self) -> None:
        self.patch(execs, "REMEMBERED", 0.0)
        self.patch(execs, "_FORGET_EVERY", 0.05)
        ended, running = await self.make("true"), await self.make("sleep", "100")
        await self.rig.job("ExecStart", running, body={"Detach": True})
        await self.start(ended, Client())
        await until(lambda: ended not in self.execs._execs)
        self.assertTrue((await self.inspect(running))["Running"])
        waiting = await self.make("true")
        await self.rig.job("ContainerDelete", "cx", query="force=1")
        await until(lambda: not self.execs._execs)
        await self.fails(NotFound, self.inspect(waiting))
        await until(lambda: self.execs._alarm is None)

    async def test_a_health_check_is_not_remembered(self) -> None:
        await self.make("true")
        container = self.rig.containers.registry.get("cx")
        before = list(container.exec_ids)
        probe = ExecProbe(self.execs, reactor)
        self.assertEqual(await probe(container, ("sh", "-c", "echo a; exit 3"), 9), (3, b"a\n"))
        self.assertEqual(await probe(container, ("sleep", "100"), 0.2), (None, b""))
        with self.assertRaises(EngineError):
            await probe(container, ("nosuch",), 9)
        self.assertEqual(list(self.execs._execs), before)
        self.assertEqual(container.exec_ids, before)

    async def test_two_hundred_at_once(self) -> None:
        await self.make("true")
        descriptors = len(os.listdir("/proc/self/fd"))

        async def one(number: int) -> None:
            exec_id = await self.make("sh", "-c", f"echo {number}; exit {number % 100}")
            client = Client()
            await self.start(exec_id, client)
            self.assertEqual(client.frames(), {1: b"%d\n" % number})
            self.assertEqual((await self.inspect(exec_id))["ExitCode"], number % 100)

        await gatherResults([Deferred.fromCoroutine(one(number)) for number in range(200)])
        await until(lambda: not self.files())
        self.assertLess(len(os.listdir("/proc/self/fd")), descriptors + 10)


class MonitoredExecTests(ExecTests):
    """The same where the runtime cannot run an exec without conmon."""

    async def setUp(self) -> None:
        await super().setUp()
        self.patch(Runtime, "tells_pipes", False)


class DirectExecTests(ExecCase):
    """What only execs without conmon do."""

    async def test_output_of_what_it_left_running_comes_for_a_while(self) -> None:
        # However busy the machine is: the stream ends with what was left running.
        self.patch(execprocess, "LINGER", 60.0)
        exec_id = await self.make("sh", "-c", "(busybox usleep 300000; echo late) & echo now")
        client = Client()
        await self.start(exec_id, client)
        self.assertEqual(client.frames(), {1: b"now\nlate\n"})

    async def test_what_it_left_running_holds_nobody_for_ever(self) -> None:
        self.patch(execprocess, "LINGER", 0.05)
        exec_id = await self.make("sh", "-c", "sleep 100 & echo now; exit 3")
        client = Client()
        await self.start(exec_id, client)
        self.assertEqual(client.frames(), {1: b"now\n"})
        self.assertEqual((await self.inspect(exec_id))["ExitCode"], 3)

    async def test_a_client_that_is_slow_loses_nothing(self) -> None:
        """All of it fits into what waits for a client and a pipe, so its process has ended."""
        self.patch(execprocess, "LINGER", 0.5)
        client = Client()
        client.stalled = Deferred()
        size = WAITING + 32768
        exec_id = await self.make("busybox", "head", "-c", str(size), "/dev/zero")
        served = Deferred.fromCoroutine(self.start(exec_id, client, Tty=True))
        await until(lambda: self.execs._execs[exec_id].exit_code == 0)
        await deferLater(reactor, 1.2)
        client.stalled.callback(None)
        client.stalled = None
        await served
        self.assertEqual(len(client.data), size)

    async def test_a_runtime_that_is_killed_is_not_the_process(self) -> None:
        exec_id = await self.make("sh", "-c", "echo in; read x; exit 5", AttachStdin=True)
        client = Client()
        served = Deferred.fromCoroutine(self.start(exec_id, client))
        await until(lambda: client.frames() == {1: b"in\n"})
        pid = (await self.inspect(exec_id))["Pid"]
        status = Path(f"/proc/{pid}/status").read_text()
        parent = next(line for line in status.splitlines() if line.startswith("PPid:"))
        os.kill(int(parent.split()[1]), signal.SIGKILL)
        await deferLater(reactor, 0.1)
        self.assertTrue((await self.inspect(exec_id))["Running"])
        client.send(b"go on\n")
        await served
        # The kernel's word, where it has one.
        self.assertIn((await self.inspect(exec_id))["ExitCode"], (5, 255))

    async def test_input_that_nobody_takes_any_more(self) -> None:
        exec_id = await self.make("sh", "-c", "exec <&-; echo closed; sleep 0.3", AttachStdin=True)
        client = Client()
        served = Deferred.fromCoroutine(self.start(exec_id, client))
        await until(lambda: client.frames() == {1: b"closed\n"})
        client.send(bytes(1 << 20))
        await served
        self.assertEqual((await self.inspect(exec_id))["ExitCode"], 0)

    async def test_other_users_may_open_their_streams(self) -> None:
        exec_id = await self.make(
            "sh", "-c", "cat /dev/stdin > /dev/stdout; echo err > /dev/stderr",
            AttachStdin=True, User="user",
        )  # fmt: skip
        client = Client()
        client.send(b"in\n")
        client.send(b"")
        await self.start(exec_id, client)
        self.assertEqual(client.frames(), {1: b"in\n", 2: b"err\n"})

    async def test_what_the_kernel_cannot_execute(self) -> None:
        exec_id = await self.make("sh", "-c", "echo text > /tmp/x; chmod 755 /tmp/x")
        await self.start(exec_id, Client())
        exec_id = await self.make("/tmp/x")
        client = Client()
        await self.start(exec_id, client)
        self.assertIn(b"exec format error", client.data.lower())
        self.assertNotEqual((await self.inspect(exec_id))["ExitCode"], 0)
