"""The removal of trees that are deeper than programs like, or that are held."""

from __future__ import annotations

import errno
import os
import tempfile
import tracemalloc
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dockerapi.local.host import trees
from dockerapi.local.host.syscalls import MountFlag, mount, umount
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

    def test_broad_trees_without_a_list_of_all_names(self) -> None:
        """A container may have made more files, or directories, than there is memory for names."""
        many = 2000
        self.patch(trees, "_NAMES", 16)
        for make in (
            lambda name, tree: os.mknod(name, dir_fd=tree),
            lambda name, tree: os.mkdir(name, dir_fd=tree),
        ):
            self.tree.mkdir(exist_ok=True)
            handle = os.open(self.tree, os.O_RDONLY)
            for number in range(many):
                make(f"{number:050}", handle)
            os.close(handle)
            tracemalloc.start()
            try:
                remove_tree(self.tree)
                self.assertLess(tracemalloc.get_traced_memory()[1], many * 50 // 4)
            finally:
                tracemalloc.stop()
            self.assertEqual(os.listdir(self.base), [])

    def test_links_are_not_followed_and_all_kinds_go(self) -> None:
        outside = self.base / "outside"
        (outside / "kept").mkdir(parents=True)
        (self.tree / "a" / "b").mkdir(parents=True)
        (self.tree / "c").mkdir()
        for place in (self.tree, self.tree / "a", self.tree / "a" / "b"):
            (place / "link").symlink_to(outside)
            (place / "file").write_text("x")
            os.mkfifo(place / "pipe")
        remove_tree(self.tree)
        self.assertEqual(os.listdir(self.base), ["outside"])
        self.assertEqual(os.listdir(outside), ["kept"])
        (self.base / "link").symlink_to(outside)
        self.assertRaises(OSError, remove_tree, self.base / "link")
        self.assertEqual(os.listdir(outside), ["kept"])

    def test_a_directory_that_is_moved_meanwhile(self) -> None:
        """What is above it then is another directory, in which nothing is removed."""
        other = self.base / "other"
        (other / "inner").mkdir(parents=True)
        (other / "file").write_text("x")
        inner = self.tree / "inner"
        inner.mkdir()
        (inner / "file").write_text("x")
        unlink = os.unlink

        def move(name: str, *, dir_fd: int) -> None:
            unlink(name, dir_fd=dir_fd)
            inner.rename(other / "inner")

        self.patch(os, "unlink", move)
        with self.assertRaises(OSError) as caught:
            remove_tree(self.tree)
        self.assertEqual(caught.exception.errno, errno.ESTALE)
        self.assertEqual(sorted(os.listdir(other)), ["file", "inner"])

    def test_what_is_mounted_is_not_emptied(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("mounting needs root")
        source, held = self.base / "source", self.tree / "held"
        for path in (source, held):
            path.mkdir()
        (source / "kept").write_text("x")
        # On the same file system: the number of a device would not tell.
        mount(source, held, "", MountFlag.BIND)
        self.addCleanup(umount, held)
        with self.assertRaises(OSError) as caught:
            remove_tree(self.tree)
        self.assertEqual(caught.exception.errno, errno.EBUSY)
        self.assertEqual(os.listdir(source), ["kept"])

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
