"""What an image has at a volume's place comes into the volume, and nothing else does."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.host.sizes import tree_size
from dockerapi.local.volumes.copying import NotADirectory, copy_up, exists_in, is_empty


class CopyTests(SynchronousTestCase):
    skip = "needs root" if os.geteuid() else None

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-copy-")
        self.addCleanup(directory.cleanup)
        base = Path(directory.name)
        self.root, self.target, self.outside = base / "root", base / "target", base / "outside"
        for path in (self.root / "data", self.target, self.outside):
            path.mkdir(parents=True)
        (self.outside / "secret").write_text("secret")

    def test_owners_modes_times_links_and_attributes(self) -> None:
        data = self.root / "data"
        (data / "f").write_bytes(b"x" * 100_000)
        os.chown(data / "f", 12, 34)
        os.chmod(data / "f", 0o4751)
        os.utime(data / "f", ns=(1_000_000_007, 2_000_000_009))
        os.setxattr(data / "f", "user.note", b"here")
        os.link(data / "f", data / "same")
        (data / "link").symlink_to("/outside/secret")
        os.lchown(data / "link", 5, 6)
        os.mkfifo(data / "pipe")
        os.chmod(data / "pipe", 0o620)
        (data / "sub").mkdir(mode=0o700)
        (data / "sub" / "g").write_text("g")
        os.link(data / "sub" / "g", data / "g2")
        os.chown(data, 7, 8)
        os.chmod(data, 0o1777)
        copy_up(self.root, "/data", self.target)
        copied = os.stat(self.target / "f")
        self.assertEqual((copied.st_uid, copied.st_gid), (12, 34))
        self.assertEqual(stat.S_IMODE(copied.st_mode), 0o4751)
        self.assertEqual(copied.st_mtime_ns, 2_000_000_009)
        self.assertEqual((self.target / "f").read_bytes(), b"x" * 100_000)
        self.assertEqual(os.getxattr(self.target / "f", "user.note"), b"here")
        self.assertTrue(os.path.samefile(self.target / "f", self.target / "same"))
        self.assertTrue(os.path.samefile(self.target / "sub" / "g", self.target / "g2"))
        self.assertEqual(os.readlink(self.target / "link"), "/outside/secret")
        self.assertEqual(os.lstat(self.target / "link").st_uid, 5)
        self.assertTrue(stat.S_ISFIFO(os.lstat(self.target / "pipe").st_mode))
        self.assertEqual(stat.S_IMODE(os.lstat(self.target / "pipe").st_mode), 0o620)
        whole = os.stat(self.target)
        self.assertEqual((whole.st_uid, whole.st_gid), (7, 8))
        self.assertEqual(stat.S_IMODE(whole.st_mode), 0o1777)

    def test_links_lead_nowhere_but_into_the_root(self) -> None:
        (self.root / "evil").symlink_to(self.outside)
        self.assertFalse(exists_in(self.root, "/evil"))
        (self.root / "up").symlink_to("../../../../../../" + str(self.outside))
        self.assertFalse(exists_in(self.root, "/up"))
        (self.root / "absolute").symlink_to("/data")
        (self.root / "data" / "f").write_text("inside")
        self.assertTrue(exists_in(self.root, "/absolute"))
        copy_up(self.root, "/absolute", self.target)
        self.assertEqual((self.target / "f").read_text(), "inside")
        self.assertRaises(OSError, copy_up, self.root, "/evil", self.outside.parent / "root" / "x")

    def test_only_into_an_empty_volume(self) -> None:
        (self.root / "data" / "f").write_text("image")
        (self.target / "own").write_text("own")
        copy_up(self.root, "/data", self.target)
        self.assertEqual(os.listdir(self.target), ["own"])
        self.assertFalse(is_empty(self.target))

    def test_a_file_is_no_place_for_a_volume(self) -> None:
        (self.root / "file").write_text("")
        self.assertRaises(NotADirectory, exists_in, self.root, "/file")
        self.assertFalse(exists_in(self.root, "/file/below"))

    def test_a_tree_that_is_too_deep(self) -> None:
        path = self.root / "data"
        descriptor = os.open(path, os.O_RDONLY)
        for _ in range(300):
            os.mkdir("d", dir_fd=descriptor)
            inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        os.close(descriptor)
        self.assertRaises(OSError, copy_up, self.root, "/data", self.target)


class SizeTests(SynchronousTestCase):
    def test_hard_links_count_once_and_links_are_not_followed(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            base = Path(name)
            (base / "sub").mkdir()
            (base / "sub" / "f").write_bytes(b"x" * 1000)
            os.link(base / "sub" / "f", base / "same")
            (base / "link").symlink_to("/etc")
            self.assertEqual(tree_size(base), 1000 + len("/etc"))
            self.assertEqual(tree_size(base / "nosuch"), 0)

    def test_trees_deeper_than_paths_can_be(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            descriptor = os.open(name, os.O_RDONLY)
            for _ in range(1500):
                os.mkdir("dddd", dir_fd=descriptor)
                inner = os.open("dddd", os.O_RDONLY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            os.close(descriptor)
            Path(name, "f").write_bytes(b"xy")
            self.assertEqual(tree_size(name), 2)
            subprocess.run(("rm", "-rf", f"{name}/dddd"), check=True)
