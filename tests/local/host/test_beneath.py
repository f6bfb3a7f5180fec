"""Files and directories inside a root that may be hostile."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from dockerapi.local.host.beneath import make_directories, make_file, read_beneath


class Beneath(SynchronousTestCase):
    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.root = self.base / "root"
        self.root.mkdir(parents=True)
        (self.base / "secret").write_text("outside")

    def assertErrno(self, number: int, error: OSError) -> None:
        self.assertEqual(error.errno, number, error)


class ReadTests(Beneath):
    def read(self, path: str, limit: int = 100) -> bytes:
        return read_beneath(self.root, path, limit)

    def refused(self, path: str, number: int) -> None:
        error = self.assertRaises(OSError, self.read, path)
        self.assertErrno(number, error)

    def test_regular(self) -> None:
        (self.root / "etc").mkdir()
        (self.root / "etc/passwd").write_text("root")
        self.assertEqual(self.read("/etc/passwd"), b"root")
        self.assertEqual(self.read("etc/../etc/passwd"), b"root")

    def test_links_and_dots_stay_inside(self) -> None:
        (self.root / "relative").symlink_to("../../secret")
        (self.root / "absolute").symlink_to(self.base / "secret")
        for path in ("relative", "absolute", "../secret", "/../../secret"):
            self.refused(path, errno.ENOENT)
        (self.root / "secret").write_text("inside")
        self.assertEqual(self.read("relative"), b"inside")
        self.assertEqual(self.read("../secret"), b"inside")

    def test_bounded(self) -> None:
        (self.root / "big").write_bytes(b"x" * 101)
        self.refused("big", errno.EFBIG)
        (self.root / "fits").write_bytes(b"x" * 100)
        self.assertEqual(len(self.read("fits")), 100)

    def test_only_regular(self) -> None:
        os.mkfifo(self.root / "pipe")
        self.refused("pipe", errno.EINVAL)
        self.refused("/", errno.EINVAL)

    def test_device(self) -> None:
        try:
            os.mknod(self.root / "zero", 0o20666, os.makedev(1, 5))
        except PermissionError:
            raise SkipTest("devices need root") from None
        self.refused("zero", errno.EINVAL)

    def test_root_is_no_link(self) -> None:
        link = self.base / "link"
        link.symlink_to(self.root)
        self.assertRaises(OSError, read_beneath, link, "x", 1)

    def test_leaves_no_descriptor(self) -> None:
        (self.root / "a").write_text("a")
        before = len(os.listdir("/proc/self/fd"))
        self.read("a")
        self.refused("nosuch", errno.ENOENT)
        make_directories(self.root, "/x/y")
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class MakeFileTests(Beneath):
    def test_makes_it_with_its_parents(self) -> None:
        self.assertTrue(make_file(self.root, "/a/b/file", mode=0o640))
        made = self.root / "a/b/file"
        self.assertEqual((made.stat().st_mode, made.read_bytes()), (stat.S_IFREG | 0o640, b""))
        made.write_text("kept")
        self.assertFalse(make_file(self.root, "a/../a/b/file"))
        self.assertEqual(made.read_text(), "kept")

    def test_what_is_in_the_way(self) -> None:
        os.mkfifo(self.root / "pipe")
        self.assertFalse(make_file(self.root, "/pipe"))
        error = self.assertRaises(OSError, make_file, self.root, "/pipe/file")
        self.assertErrno(errno.ENOTDIR, error)

    def test_stays_inside(self) -> None:
        (self.root / "up").symlink_to("../..")
        self.assertTrue(make_file(self.root, "/up/made"))
        self.assertTrue((self.root / "made").exists())
        (self.root / "nowhere").symlink_to(self.base / "outside")
        error = self.assertRaises(OSError, make_file, self.root, "/nowhere")
        self.assertErrno(errno.EEXIST, error)
        self.assertFalse((self.base / "outside").exists())


class MakeTests(Beneath):
    def make(self, path: str, **options: int) -> bool:
        owner = {"uid": os.geteuid(), "gid": os.getegid()}
        return make_directories(self.root, path, **(owner | options))

    def test_makes_what_lacks(self) -> None:
        self.assertTrue(self.make("/a/b/c", mode=0o750))
        self.assertEqual((self.root / "a/b/c").stat().st_mode & 0o7777, 0o750)
        self.assertFalse(self.make("/a/b"))
        self.assertTrue(self.make("a/d"))

    def test_owner(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("owners need root")
        (self.root / "old").mkdir()
        self.make("/old/new/er", uid=1000, gid=100)
        for name, uid in (("old", 0), ("old/new", 1000), ("old/new/er", 1000)):
            self.assertEqual((self.root / name).stat().st_uid, uid)

    def test_dots_and_links_stay_inside(self) -> None:
        (self.root / "up").symlink_to("../../..")
        (self.root / "absolute").symlink_to("/var/lib")
        self.make("/../../x")
        self.make("up/y")
        self.make("absolute/z")
        self.assertTrue((self.root / "x").is_dir())
        self.assertTrue((self.root / "y").is_dir())
        self.assertTrue((self.root / "var/lib/z").is_dir())
        self.assertEqual(sorted(os.listdir(self.base)), ["root", "secret"])

    def test_link_that_leads_nowhere(self) -> None:
        (self.root / "a").symlink_to("b/../c")
        self.make("/a/d")
        self.assertTrue((self.root / "c/d").is_dir())

    def test_loop(self) -> None:
        (self.root / "a").symlink_to("b")
        (self.root / "b").symlink_to("a")
        self.assertErrno(errno.ELOOP, self.assertRaises(OSError, self.make, "/a/x"))

    def test_file_in_the_way(self) -> None:
        (self.root / "file").touch()
        for path in ("/file", "/file/x"):
            self.assertErrno(errno.ENOTDIR, self.assertRaises(OSError, self.make, path))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.lists(st.sampled_from(["..", "a", "b", "c", "."]), min_size=1, max_size=5),
                st.booleans(),
            ),
            max_size=3,
        ),
        st.lists(st.sampled_from(["..", "a", "b", "c"]), min_size=1, max_size=6),
    )
    def test_never_leaves_the_root(
        self, links: list[tuple[str, list[str], bool]], path: list[str]
    ) -> None:
        self.setUp()
        for name, target, absolute in links:
            if not os.path.lexists(self.root / name):
                (self.root / name).symlink_to(("/" if absolute else "") + "/".join(target))
        try:
            self.make("/".join(path))
        except OSError as error:
            self.assertIn(error.errno, (errno.ELOOP, errno.ENOTDIR))
        self.assertEqual(sorted(os.listdir(self.base)), ["root", "secret"])
