"""The removal of trees that are deeper than programs like, or that are held."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dockerapi.local.host.syscalls import mount, umount
from dockerapi.local.host.trees import remove_tree


class RemovalTests(SynchronousTestCase):
    """What is removed, and what is told."""

    def setUp(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="dockerapi-trees-"))
        self.addCleanup(remove_tree, self.base)
        self.tree = self.base / "tree"
        self.tree.mkdir()

    def test_a_tree_deeper_than_paths_can_be(self) -> None:
        handle = os.open(self.tree, os.O_RDONLY)
        for _ in range(5000):
            os.mkdir("d", dir_fd=handle)
            above, handle = handle, os.open("d", os.O_RDONLY, dir_fd=handle)
            os.close(above)
        os.close(handle)
        remove_tree(self.tree)
        self.assertEqual(os.listdir(self.base), [])

    def test_what_is_not_there(self) -> None:
        """It is as if it had been removed."""
        remove_tree(self.base / "none")
        self.assertEqual(os.listdir(self.base), ["tree"])

    def test_what_cannot_be_removed_is_told(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("mounting needs root")
        (self.tree / "held").mkdir()
        mount("tmpfs", self.tree / "held", "tmpfs")
        self.addCleanup(umount, self.tree / "held")
        with self.assertRaises(OSError) as caught:
            remove_tree(self.tree)
        self.assertIn("held", str(caught.exception))
