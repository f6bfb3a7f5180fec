"""Programs that run from sealed memory, and waiting ahead for the kernel."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from dockerapi.local.host.grace import GracePeriod
from dockerapi.local.host.sealed import SealedProgram
from dockerapi.local.host.spawn import find_program, run


class SealedTests(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.program = SealedProgram(find_program("cat"), self.directory)

    async def test_it_runs(self) -> None:
        self.addCleanup(self.program.close)
        done = await run([str(self.program.path.absolute())], stdin=b"through")
        self.assertEqual((done.status, done.stdout), (0, b"through"))

    def test_nobody_can_write_to_it(self) -> None:
        self.addCleanup(self.program.close)
        # Root may write to any file, but not to this one.
        with self.assertRaises(OSError):
            descriptor = os.open(self.program.path, os.O_WRONLY)
            self.addCleanup(os.close, descriptor)
            os.write(descriptor, b"#!")

    def test_it_goes(self) -> None:
        before = os.readlink(self.program.path)
        self.program.close()
        self.assertFalse(self.directory.exists())
        self.assertFalse(os.path.exists(before))

    def test_the_link_of_a_server_that_was_killed_is_replaced(self) -> None:
        self.program.path.unlink()
        self.program.path.symlink_to("/proc/4194303/fd/9")
        again = SealedProgram(find_program("cat"), self.directory)
        self.addCleanup(self.program.close)
        self.addCleanup(again.close)
        self.assertTrue(os.access(again.path, os.X_OK))


class GraceTests(SynchronousTestCase):
    def test_this_process_stays_where_it_is(self) -> None:
        before = Path("/proc/self/cgroup").read_text()
        grace = GracePeriod()
        self.addCleanup(grace.close)
        for _ in range(3):
            grace.begin()
        grace.close()
        self.assertEqual(Path("/proc/self/cgroup").read_text(), before)
