"""Hostile and odd archives: nothing outside the root is touched, and what is right is kept."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.host.trees import remove_tree
from tests.local.images.registry import digest
from tests.local.images.support import Archive


class ExtractionTests(SynchronousTestCase):
    if os.geteuid():
        skip = "unpacking needs root"

    def setUp(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="images-unpack-"))
        self.addCleanup(remove_tree, self.base)
        self.root = self.base / "root"
        self.root.mkdir()
        self.outside = self.base / "outside"
        self.outside.mkdir()
        (self.outside / "victim").write_text("untouched")

    def child(self, archive: bytes) -> subprocess.CompletedProcess[bytes]:
        with tempfile.TemporaryFile() as file:
            file.write(archive)
            file.seek(0)
            return subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "dockerapi.local.images.unpack",
                    str(file.fileno()),
                    str(self.root),
                ],
                pass_fds=(file.fileno(),),
                capture_output=True,
                timeout=60,
            )

    def unpack(self, archive: bytes) -> dict[str, Any]:
        completed = self.child(archive)
        self.assertEqual((completed.returncode, completed.stderr), (0, b""))
        result: dict[str, Any] = json.loads(completed.stdout)
        return result

    def refused(self, archive: bytes, text: str) -> None:
        completed = self.child(archive)
        self.assertEqual(completed.returncode, 1)
        self.assertIn(text, completed.stderr.decode())
        self.assertNotIn("Traceback", completed.stderr.decode())
        self.untouched()

    def untouched(self) -> None:
        self.assertEqual([path.name for path in self.outside.iterdir()], ["victim"])
        victim = self.outside / "victim"
        self.assertEqual(victim.read_text(), "untouched")
        self.assertEqual(victim.stat().st_nlink, 1)
        self.assertEqual(sorted(p.name for p in self.base.iterdir()), ["outside", "root"])

    def opaque(self, path: str) -> bool:
        return "trusted.overlay.opaque" in os.listxattr(self.root / path, follow_symlinks=False)

    def test_dots_lead_nowhere(self) -> None:
        self.refused(Archive().add("../outside/new").bytes(), "leads out of the root")
        self.refused(Archive().add("a/../../outside/new").bytes(), "leads out of the root")
        self.refused(Archive().add("/../x").bytes(), "leads out of the root")

    def test_absolute_paths_are_beneath(self) -> None:
        self.unpack(Archive().add("/etc/x", b"1").bytes())
        self.assertEqual((self.root / "etc/x").read_bytes(), b"1")

    def test_links_in_a_path_stay_inside(self) -> None:
        outside = str(self.outside)
        for number, target in enumerate((outside, "../outside", "../../../../../.." + outside)):
            archive = Archive().symlink(f"l{number}", target).add(f"l{number}/victim", b"x")
            self.child(archive.bytes())
            self.untouched()
        self.child(Archive().symlink("up", "..").add("up/outside/victim", b"x").bytes())
        self.untouched()

    def test_a_parent_that_is_a_link_is_followed_inside(self) -> None:
        self.unpack(
            Archive().directory("usr/lib").symlink("lib", "usr/lib").add("lib/x", b"1").bytes()
        )
        self.assertEqual((self.root / "usr/lib/x").read_bytes(), b"1")

    def test_a_file_never_goes_through_a_link(self) -> None:
        victim = str(self.outside / "victim")
        self.unpack(Archive().symlink("x", victim).add("x", b"new").bytes())
        self.assertFalse((self.root / "x").is_symlink())
        self.assertEqual((self.root / "x").read_bytes(), b"new")
        self.untouched()

    def test_a_directory_replaces_a_link(self) -> None:
        self.unpack(
            Archive()
            .symlink("d", str(self.outside))
            .directory("d", mode=0o700)
            .add("d/victim", b"x")
            .bytes()
        )
        self.assertEqual((self.root / "d/victim").read_bytes(), b"x")
        self.untouched()

    def test_hard_links_stay_inside(self) -> None:
        victim = str(self.outside / "victim")
        self.refused(Archive().link("x", victim).bytes(), "cannot link")
        self.refused(Archive().link("x", "../outside/victim").bytes(), "leads out of the root")
        self.refused(
            Archive().symlink("l", str(self.outside)).link("x", "l/victim").bytes(), "cannot link"
        )
        self.unpack(Archive().symlink("s", victim).link("h", "s").add("h", b"x").bytes())
        self.untouched()

    def test_a_hard_link_shares_its_file(self) -> None:
        self.unpack(Archive().add("a", b"1").link("b", "./a").bytes())
        self.assertEqual((self.root / "a").stat().st_ino, (self.root / "b").stat().st_ino)

    def test_modes_owners_and_capabilities(self) -> None:
        capability = (
            b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
        )
        self.unpack(
            Archive()
            .add(
                "ping",
                b"x",
                mode=0o4755,
                uid=7,
                gid=8,
                mtime=1234567890,
                pax_headers={
                    "SCHILY.xattr.security.capability": capability.decode("utf-8"),
                    "SCHILY.xattr.trusted.overlay.redirect": "/etc",
                },
            )
            .directory("tmp", mode=0o1777)
            .bytes()
        )
        found = (self.root / "ping").stat()
        self.assertEqual((found.st_mode & 0o7777, found.st_uid, found.st_gid), (0o4755, 7, 8))
        self.assertEqual(found.st_mtime, 1234567890)
        self.assertEqual(os.getxattr(self.root / "ping", "security.capability"), capability)
        self.assertNotIn("trusted.overlay.redirect", os.listxattr(self.root / "ping"))
        self.assertEqual((self.root / "tmp").stat().st_mode & 0o7777, 0o1777)

    def test_devices_and_pipes(self) -> None:
        self.unpack(
            Archive()
            .add("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
            .add("pipe", type=tarfile.FIFOTYPE)
            .bytes()
        )
        found = (self.root / "null").stat()
        self.assertTrue(stat.S_ISCHR(found.st_mode))
        self.assertEqual((found.st_rdev, found.st_mode & 0o777), (os.makedev(1, 3), 0o666))
        self.assertTrue((self.root / "pipe").is_fifo())

    def test_a_deep_tree_is_replaced(self) -> None:
        self.unpack(Archive().add("a/" * 1500 + "f", b"1").add("a", b"22").bytes())
        self.assertEqual((self.root / "a").read_bytes(), b"22")

    def test_whiteouts(self) -> None:
        self.unpack(
            Archive()
            .add("a/.wh.gone")
            .add("b/.wh..wh..opq")
            .add("b/kept", b"1")
            .add(".wh..wh.plnk")
            .add("c/.wh.d")
            .add("c/d/new", b"1")
            .directory("e")
            .add(".wh.e")
            .add("f", b"1")
            .add(".wh.f")
            .bytes()
        )
        hidden = (self.root / "a/gone").lstat()
        self.assertTrue(stat.S_ISCHR(hidden.st_mode))
        self.assertEqual(hidden.st_rdev, 0)
        self.assertTrue(self.opaque("b"))
        self.assertFalse(self.opaque("a"))
        self.assertTrue(self.opaque("c/d"))
        self.assertTrue(self.opaque("e"))
        self.assertEqual((self.root / "f").read_bytes(), b"1")
        self.assertEqual(sorted(p.name for p in self.root.iterdir()), list("abcef"))

    def test_bad_whiteouts(self) -> None:
        for name in (".wh.", ".wh..", ".wh...", "a/.wh..."):
            self.refused(Archive().add(name).bytes(), "invalid whiteout")

    def test_damaged_archives(self) -> None:
        whole = Archive().add("a", b"1" * 2000).add("b", b"2" * 2000).bytes()
        for size in (100, 600, 1500, 3000):
            self.refused(whole[:size], "damaged")
        torn = bytearray(whole)
        torn[2560 + 148] ^= 0xFF
        self.refused(bytes(torn), "damaged")
        self.refused(gzip.compress(whole)[:-20], "damaged")
        self.refused(lzma.compress(whole)[:60], "damaged")

    def test_a_header_that_wants_all_memory(self) -> None:
        member = tarfile.TarInfo("x")
        member.type = tarfile.XHDTYPE
        member.size = 1 << 40
        self.refused(
            member.tobuf(tarfile.USTAR_FORMAT if member.size < 1 << 33 else tarfile.GNU_FORMAT), ""
        )

    def test_sparse_files_stay_sparse(self) -> None:
        if shutil.which("tar") is None:
            self.skipTest("tar is not installed")
        source = self.base / "source"
        source.mkdir()
        with (source / "big").open("wb") as file:
            file.seek(1 << 30)
            file.write(b"end")
        for kind in ("gnu", "posix"):
            archive = subprocess.run(
                ["tar", "-C", source, f"--format={kind}", "-Scf", "-", "big"],
                check=True,
                capture_output=True,
            ).stdout
            self.unpack(archive)
            found = (self.root / "big").stat()
            self.assertEqual(found.st_size, (1 << 30) + 3)
            self.assertLess(found.st_blocks * 512, 1 << 20)
            with (self.root / "big").open("rb") as file:
                file.seek(1 << 30)
                self.assertEqual(file.read(), b"end")
        shutil.rmtree(source)

    def test_compressions(self) -> None:
        plain = Archive().add("a", os.urandom(200_000)).bytes()
        packed = [plain, gzip.compress(plain), bz2.compress(plain), lzma.compress(plain)]
        halves = gzip.compress(plain[:1000]) + gzip.compress(plain[1000:])
        packed.append(halves)
        if shutil.which("zstd"):
            packed.append(
                subprocess.run(["zstd", "-c"], input=plain, check=True, capture_output=True).stdout
            )
        for archive in packed:
            result = self.unpack(archive)
            self.assertEqual(result, {"diffId": digest(plain), "size": 200_000})

    def test_links_weigh_what_they_say(self) -> None:
        layer = Archive().add("a", b"12").symlink("b", "a/b").bytes()
        self.assertEqual(self.unpack(layer), {"diffId": digest(layer), "size": 5})

    def test_an_empty_layer(self) -> None:
        empty = bytes(1024)
        self.assertEqual(self.unpack(empty), {"diffId": digest(empty), "size": 0})

    def test_long_and_odd_names(self) -> None:
        name = "/".join(["d" * 200] * 10)
        odd = io.BytesIO()
        with tarfile.TarFile(
            fileobj=odd, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1"
        ) as tar:
            tar.addfile(tarfile.TarInfo("\xff\xfe"))
            tar.addfile(tarfile.TarInfo(name))
        self.unpack(odd.getvalue())
        self.assertTrue(os.path.exists(os.fsencode(self.root) + b"/\xff\xfe"))
        self.assertTrue((self.root / name).is_file())
        self.refused(Archive().add("x/" * 2500 + "y").bytes(), "invalid path")
