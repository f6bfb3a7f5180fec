"""One server for each root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError
from dockerapi.local.ownership import Ownership

_HOLD = """
import sys
from pathlib import Path
from dockerapi.local.ownership import Ownership
Ownership(Path(sys.argv[1])).take()
print("taken", flush=True)
sys.stdin.read()
"""


class OwnershipTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()

    def test_a_second_server_is_refused_and_told_who_has_it(self) -> None:
        first, second = Ownership(self.root), Ownership(self.root)
        first.take()
        self.addCleanup(first.release)
        error = self.assertRaises(EngineError, second.take)
        self.assertIn(
            f"{self.root} is in use by another server (process {os.getpid()})", str(error)
        )
        first.release()
        second.take()
        second.release()

    def test_one_root_in_use_gives_the_other_back(self) -> None:
        other = Path(self.mktemp())
        other.mkdir()
        holder = Ownership(self.root)
        holder.take()
        self.addCleanup(holder.release)
        self.assertRaises(EngineError, Ownership(other, self.root).take)
        free = Ownership(other)
        free.take()
        free.release()

    def test_a_crash_leaves_no_lock(self) -> None:
        child = subprocess.Popen(
            (sys.executable, "-c", _HOLD, str(self.root)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdin is not None
        self.assertEqual(child.stdout.readline(), b"taken\n")
        self.assertRaises(EngineError, Ownership(self.root).take)
        child.kill()
        child.wait()
        child.stdout.close()
        child.stdin.close()
        ours = Ownership(self.root)
        ours.take()
        ours.release()

    def test_a_link_in_its_place_is_not_followed(self) -> None:
        (self.root / "lock").symlink_to("/etc/passwd")
        self.assertRaises(OSError, Ownership(self.root).take)
