"""Children: their output, their ends, their descriptors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from dockerapi.local.host.pidfd import exit_of, open_process, start_time_of
from dockerapi.local.host.spawn import OUTPUT_LIMIT, MissingProgram, TimedOut, run, spawn
from dockerapi.local.host.threads import in_thread


class RunTests(TestCase):
    timeout = 120

    async def test_output_and_status(self) -> None:
        done = await run(["sh", "-c", "cat; echo err >&2; exit 3"], stdin=b"in" * 100_000)
        self.assertEqual(done.status, 3)
        self.assertEqual(done.stdout, b"in" * 100_000)
        self.assertEqual(done.stderr, b"err\n")

    async def test_killed(self) -> None:
        done = await run(["sh", "-c", "kill -9 $$"])
        self.assertEqual(done.status, -signal.SIGKILL)

    async def test_output_is_bounded(self) -> None:
        done = await run(["head", "-c", str(OUTPUT_LIMIT * 3), "/dev/zero"])
        self.assertEqual(len(done.stdout), OUTPUT_LIMIT)
        self.assertNotEqual(done.status, 0)

    async def test_timeout(self) -> None:
        await self.assertFailure(
            Deferred.fromCoroutine(run(["sleep", "60"], timeout=0.1)), TimedOut
        )

    async def test_missing(self) -> None:
        await self.assertFailure(Deferred.fromCoroutine(run(["no-such-program"])), MissingProgram)

    async def test_environment_replaces(self) -> None:
        done = await run(["env"], env={"A": "b"})
        self.assertEqual(done.stdout, b"A=b\n")

    async def test_descriptors(self) -> None:
        kept = os.memfd_create("kept")
        other = os.memfd_create("other")
        self.addCleanup(os.close, kept)
        self.addCleanup(os.close, other)
        done = await run(["sh", "-c", "ls /proc/$$/fd"], pass_fds=(kept,))
        numbers = set(map(int, done.stdout.split()))
        self.assertIn(kept, numbers)
        self.assertNotIn(other, numbers)

    def test_what_the_server_inherited_goes_no_further(self) -> None:
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        program = (
            "from dockerapi.local.host.spawn import start_child; import os, sys;"
            "os.waitpid(start_child(['ls', '/proc/self/fd'], (None, 1, 2), None, ()), 0)"
        )
        command = [sys.executable, "-c", program]
        listed = subprocess.run(command, pass_fds=[write], stdout=subprocess.PIPE, check=True)
        self.assertNotIn(str(write), listed.stdout.decode().split())

    async def test_cancelled_kills(self) -> None:
        running = Deferred.fromCoroutine(run(["sleep", "4711"]))
        running.addErrback(lambda failure: None)
        running.cancel()
        await running
        # Its end is taken up after the kill: nothing of it shall be left in the reactor.
        await deferLater(reactor, 0.2)

    async def test_cancelled_while_it_starts(self) -> None:
        """The child has its descriptors before whoever gives up can close them."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self.addCleanup(os.close, reading)
        # Not `>&NUMBER`, which a shell may take for numbers below ten alone.
        script = f"echo here > /proc/self/fd/{writing}"
        starting = Deferred.fromCoroutine(spawn(["sh", "-c", script], pass_fds=(writing,)))
        starting.cancel()
        await self.assertFailure(starting, CancelledError)
        os.close(writing)
        self.assertEqual(await in_thread(os.read, reading, 100), b"here\n")
        await deferLater(reactor, 0.2)

    async def test_everything_else_goes_on_until_a_child_is_executed(self) -> None:
        """A child that hangs before its program is executed holds up nobody here."""
        pipe = os.path.abspath(self.mktemp())
        os.mkfifo(pipe)
        # What the child opens as its input, which it can when somebody writes to it.
        self.patch(os, "devnull", pipe)
        running = Deferred.fromCoroutine(run(["true"]))
        await deferLater(reactor, 0.05)
        self.assertFalse(running.called)
        os.close(await in_thread(os.open, pipe, os.O_WRONLY))
        self.assertEqual((await running).status, 0)

    async def test_what_cannot_be_executed(self) -> None:
        path = os.path.abspath(self.mktemp())
        with open(path, "w"):
            pass
        await self.assertFailure(Deferred.fromCoroutine(run([path])), PermissionError)

    async def test_default_signals(self) -> None:
        done = await run(["sh", "-c", "grep SigIgn /proc/self/status"])
        ignored = int(done.stdout.split()[1], 16)
        self.assertEqual(ignored >> (signal.SIGPIPE - 1) & 1, 0)


class PidfdTests(TestCase):
    timeout = 120

    async def test_several_wait(self) -> None:
        process = await spawn(["sleep", "0.1"])
        pidfd = open_process(process.pid, start_time_of(process.pid))
        self.addCleanup(os.close, pidfd)
        first, second = exit_of(pidfd), exit_of(pidfd)
        await first
        await second
        self.assertEqual(await process.wait(), 0)

    async def test_another_process(self) -> None:
        process = await spawn(["sleep", "60"])
        with self.assertRaises(ProcessLookupError):
            open_process(process.pid, 1)
        process.send(signal.SIGTERM)
        self.assertEqual(await process.wait(), -signal.SIGTERM)
        self.assertIsNone(start_time_of(process.pid))
