"""The child that reads and writes trees: what it gives and takes, and what it does not reach."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest

from dockerapi.local.archive.process import Child, ChildFailed
from dockerapi.local.archive.statuses import NOT_DIRECTORY, NOT_FOUND
from dockerapi.local.host.overlay import mount_overlay
from dockerapi.local.host.syscalls import UnmountFlag, umount
from tests.local.archive.support import ChildCase, Collected, archive, make_deep


def _zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-c"], input=data, check=True, capture_output=True).stdout


class GetTests(ChildCase):
    """What it tells of paths, and the archives that it writes."""

    async def test_links_lead_within_the_root(self) -> None:
        (self.outside / "secret").write_text("s")
        (self.root / "etc").mkdir()
        (self.root / "up").symlink_to("../../../../etc")
        (self.root / "out").symlink_to(self.outside)
        self.assertEqual((await self.stat("/up"))[3:], ["up", "/etc"])
        self.assertEqual((await self.stat("/out"))[4], str(self.outside))
        self.assertTrue(stat.S_ISDIR(int((await self.stat("/up/"))[0])))
        for path in ("/out/", "/out/secret", "/out/."):
            with self.assertRaises(ChildFailed) as caught:
                await self.get(path)
            self.assertEqual(caught.exception.status, NOT_FOUND)

    async def test_names(self) -> None:
        odd = (b"a\nb", b"inv\xff", "é".encode(), b"n" * 200)
        directory = os.fsencode(self.root / "d")
        os.mkdir(directory)
        for name in odd:
            Path(os.fsdecode(directory + b"/" + name)).write_bytes(name)
        members = await self.get("/d")
        wanted = [b"d", *(b"d/" + name for name in sorted(odd))]
        self.assertEqual([os.fsencode(one.name) for one in members], wanted)
        self.assertEqual((await self.get("/d/."))[0].name, ".")
        self.assertEqual(os.fsencode((await self.get(b"/d/inv\xff"))[0].name), b"inv\xff")

    async def test_kinds(self) -> None:
        directory = self.root / "d"
        directory.mkdir()
        (directory / "f").write_text("content")
        os.link(directory / "f", directory / "g")
        os.chmod(directory / "f", 0o4751)
        os.mkfifo(directory / "p")
        os.mknod(directory / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.setxattr(directory / "f", "user.x", b"\xffy")
        (directory / "s").symlink_to("f")
        os.chown(directory / "s", 7, 8, follow_symlinks=False)
        _, file, link, null, pipe, symlink = await self.get("/d")
        self.assertEqual((file.mode, file.size, file.type), (0o4751, 7, tarfile.REGTYPE))
        self.assertEqual(file.pax_headers["SCHILY.xattr.user.x"], "\udcffy")
        self.assertEqual((link.type, link.linkname), (tarfile.LNKTYPE, "d/f"))
        self.assertEqual((null.type, null.devmajor, null.devminor), (tarfile.CHRTYPE, 1, 3))
        self.assertEqual(pipe.type, tarfile.FIFOTYPE)
        self.assertEqual((symlink.linkname, symlink.uid, symlink.gid), ("f", 7, 8))

    async def test_pipes_and_devices_are_not_opened(self) -> None:
        os.mkfifo(self.root / "p")
        (member,) = await self.get("/p")
        self.assertEqual(member.type, tarfile.FIFOTYPE)

    async def test_who_leaves_ends_it(self) -> None:
        with open(self.root / "big", "wb") as file:
            file.truncate(1 << 33)
        child = await Child.start("get", [self.root, "0", "/"])
        await child.line()

        class Slow(Collected):
            async def write(self, data: bytes) -> None:
                await deferLater(reactor, 60)

        serving = Deferred.fromCoroutine(child.serve(Slow()))
        await deferLater(reactor, 0.1)
        serving.cancel()
        self.assertEqual(await child.ended, -9)
        serving.addErrback(lambda _: None)

    async def test_it_loads_nothing_from_the_root(self) -> None:
        package = Path(os.path.realpath(tarfile.__file__)).parent
        fake = self.root / str(package).lstrip("/")
        fake.mkdir(parents=True)
        for module in ("encodings", "shutil", "tarfile", "stringprep"):
            (fake / f"{module}.py").write_text("open('/loaded', 'w')")
        await self.get("/")
        await self.put(archive(("f", {"data": b"x"})))
        self.assertFalse((self.root / "loaded").exists())


class PutTests(ChildCase):
    """What it does with archives, hostile ones among them."""

    async def refused(self, data: bytes, **more: Any) -> str:
        try:
            await self.put(data, **more)
        except ChildFailed as failed:
            return failed.message
        raise self.failureException("the archive was taken")

    async def test_kinds(self) -> None:
        attribute = {"SCHILY.xattr.user.x": "y"}
        await self.put(
            archive(
                ("d", {"type": tarfile.DIRTYPE, "mode": 0o1777}),
                ("d/f", {"data": b"f" * 100_000, "mode": 0o4755, "uid": 5, "gid": 6}),
                ("d/h", {"type": tarfile.LNKTYPE, "linkname": "d/f"}),
                ("d/s", {"type": tarfile.SYMTYPE, "linkname": "/f", "uid": 7}),
                ("d/p", {"type": tarfile.FIFOTYPE}),
                ("d/n", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
                ("deep/er/x", {"data": b"x", "pax_headers": attribute}),
                (".wh.d", {"data": b""}),
            )
        )
        found = (self.root / "d" / "f").stat()
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid), (0o4755, 5, 6))
        self.assertEqual((found.st_size, found.st_nlink), (100_000, 2))
        self.assertEqual((self.root / "d").stat().st_mtime, 1_600_000_000)
        self.assertEqual((self.root / "d" / "s").lstat().st_uid, 7)
        self.assertEqual((self.root / "d" / "n").stat().st_rdev, os.makedev(1, 3))
        self.assertEqual(os.getxattr(self.root / "deep" / "er" / "x", "user.x"), b"y")
        self.assertTrue((self.root / ".wh.d").exists())

    async def test_nothing_leaves_the_directory(self) -> None:
        (self.root / "d").mkdir()
        for name in ("../x", "a/../../x", "../../outside/x"):
            message = await self.refused(archive((name, {"data": b"x"})), path="/d")
            self.assertIn("is outside of", message)
        link = {"type": tarfile.SYMTYPE, "linkname": "../../x"}
        self.assertIn("invalid symlink", await self.refused(archive(("l", link)), path="/d"))
        link = {"type": tarfile.LNKTYPE, "linkname": "../x"}
        self.assertIn("invalid hardlink", await self.refused(archive(("l", link)), path="/d"))
        await self.put(archive(("/abs", {"data": b"x"})), path="/d")
        self.assertTrue((self.root / "d" / "abs").exists())
        self.assertEqual(sorted(os.listdir(self.root)), ["d"])
        self.assertEqual(os.listdir(self.outside), [])

    async def test_nothing_leaves_the_root_through_links(self) -> None:
        link = {"type": tarfile.SYMTYPE, "linkname": str(self.outside)}
        inside = self.root / str(self.outside).lstrip("/")
        inside.mkdir(parents=True)
        await self.put(archive(("l", link), ("l/x", {"data": b"x"})))
        self.assertEqual(os.listdir(self.outside), [])
        self.assertEqual((inside / "x").read_bytes(), b"x")
        (self.root / "there").symlink_to(self.outside)
        await self.put(archive(("y", {"data": b"y"})), path="/there")
        self.assertEqual((inside / "y").read_bytes(), b"y")

    async def test_what_is_in_the_way(self) -> None:
        (self.root / "f").write_text("f")
        (self.root / "d").mkdir()
        (self.root / "d" / "inner").write_text("i")
        (self.root / "link").symlink_to("f")
        directory, file = ("f", {"type": tarfile.DIRTYPE}), ("d", {"data": b"x"})
        for member in (directory, file):
            message = await self.refused(archive((member[0], dict(member[1]))), keep="1")
            self.assertIn("cannot overwrite", message)
        await self.put(archive(directory, file, ("link", {"data": b"new"})))
        self.assertTrue((self.root / "f").is_dir())
        self.assertTrue((self.root / "d").is_file())
        self.assertFalse((self.root / "link").is_symlink())

    async def test_a_deep_tree_is_in_the_way(self) -> None:
        make_deep(self.root / "d")
        await self.put(archive(("d", {"data": b"x"})))
        self.assertEqual((self.root / "d").read_bytes(), b"x")

    async def test_owner(self) -> None:
        await self.put(archive(("f", {"data": b"x", "uid": 9})), owner=("1000", "1001"))
        found = (self.root / "f").stat()
        self.assertEqual((found.st_uid, found.st_gid), (1000, 1001))

    async def test_compressed(self) -> None:
        for compression in ("gz", "bz2", "xz"):
            await self.put(archive((compression, {"data": b"x"}), compression=compression))
            self.assertEqual((self.root / compression).read_bytes(), b"x")

    async def test_zstd(self) -> None:
        if shutil.which("zstd") is None:
            raise SkipTest("zstd is not installed")
        content = os.urandom(3 << 20)
        plain = archive(("z", {"data": content}))
        skippable = b"\x50\x2a\x4d\x18\x02\0\0\0--"
        whole = _zstd(plain)
        for packed in (whole, skippable + whole, _zstd(plain[:99]) + _zstd(plain[99:])):
            await self.put(packed)
            self.assertEqual((self.root / "z").read_bytes(), content)
            (self.root / "z").unlink()
        self.assertEqual(await self.refused(whole[:-100_000]), "unexpected EOF")
        # After the archive's end only the decompressor can tell.
        self.assertEqual(await self.refused(whole[:-1]), "the archive is damaged, as zstd finds")
        self.assertIn("there is room for", await self.refused(whole, limit=str(1 << 20)))

    async def test_nothing_is_written_any_more_when_someone_gives_up(self) -> None:
        """Little that is much once it is decompressed: all of it is on its way by then."""
        if shutil.which("zstd") is None:
            raise SkipTest("zstd is not installed")
        member = tarfile.TarInfo("bomb")
        member.size = 2 << 30
        zeros = f"(cat; head -c {member.size} /dev/zero) | zstd -1 -c"
        packed = subprocess.run(
            ("sh", "-c", zeros), input=member.tobuf(), check=True, capture_output=True
        ).stdout
        putting = Deferred.fromCoroutine(self.put(packed))
        while not (self.root / "bomb").exists():
            await deferLater(reactor, 0.001)
        putting.cancel()
        await self.assertFailure(putting, CancelledError)
        self.assertLess((self.root / "bomb").stat().st_size, member.size)
        while [one.name() for one in psutil.Process().children()].count("zstd"):
            await deferLater(reactor, 0.02)

    async def test_contents_of_every_length(self) -> None:
        at_once = 1 << 18  # What it reads at once: pieces end within headers and contents.
        lengths = (*range(0, 2049, 128), at_once - 513, at_once, at_once + 1, 3 * at_once + 700, 1)
        contents = {f"f{length}": os.urandom(length) for length in lengths}
        data = archive(*((name, {"data": content}) for name, content in contents.items()))
        for compression in (None, gzip.compress):
            await self.put(data if compression is None else compression(data))
            found = {path.name: path.read_bytes() for path in self.root.iterdir()}
            self.assertEqual(found, contents)

    async def test_damaged(self) -> None:
        whole = archive(("f", {"data": b"x" * 5000}))
        self.assertEqual(await self.refused(whole[:2048]), "unexpected EOF")
        self.assertEqual(await self.refused(whole[:100]), "unexpected EOF")
        self.assertEqual(await self.refused(b"x" * 1024), "archive/tar: invalid tar header")
        large = archive(("f", {"data": bytes(1 << 19)}))
        self.assertEqual(await self.refused(large[: 1 << 19]), "unexpected EOF")
        await self.put(b"")

    async def test_a_header_without_end(self) -> None:
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 1 << 40
        message = await self.refused(info.tobuf() + bytes(1 << 20))
        self.assertEqual(message, "unexpected EOF")

    async def test_parents_as_deep_as_paths_can_be(self) -> None:
        name = "a/" * 2000 + "f"
        await self.put(archive((name, {"data": b"x"})))
        self.assertEqual((self.root / name).read_bytes(), b"x")

    async def test_numbers_that_are_none(self) -> None:
        for fields in ({"uid": -2}, {"gid": 1 << 33}, {"type": tarfile.CHRTYPE, "devmajor": -1}):
            data = archive(("x", fields), form=tarfile.GNU_FORMAT)
            self.assertEqual(await self.refused(data), "archive/tar: invalid tar header", fields)

    async def test_devices_keep_their_mode(self) -> None:
        await self.put(archive(("p", {"type": tarfile.FIFOTYPE, "mode": 0o1622, "uid": 3})))
        found = (self.root / "p").stat()
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid), (0o1622, 3))

    async def test_no_more_than_there_is_room_for(self) -> None:
        data = {"data": bytes(1 << 20)}
        for compression in ("", "gz"):
            packed = archive(("a", dict(data)), ("b", dict(data)), compression=compression)
            message = await self.refused(packed, limit=str(1_500_000))
            self.assertIn("larger than what there is room for (1500000 bytes)", message)
            await self.put(packed, limit=str(4 << 20))

    async def test_where_it_goes(self) -> None:
        (self.root / "f").write_text("f")
        for path, status in (("/no", NOT_FOUND), ("/f", NOT_DIRECTORY), ("/f/", NOT_DIRECTORY)):
            with self.assertRaises(ChildFailed) as caught:
                await self.put(archive(), path=path)
            self.assertEqual(caught.exception.status, status)


class LayerTests(ChildCase):
    """Changes of an overlay, and layers made of them."""

    def setUp(self) -> None:
        super().setUp()
        self.lower, self.upper = self.outside / "lower", self.outside / "upper"
        work = self.outside / "work"
        for path in (self.lower, self.upper, work):
            path.mkdir()
        for name in ("same", "changed", "gone"):
            (self.lower / name).write_text(name)
        for name in ("tree", "replaced", "emptied"):
            (self.lower / name).mkdir()
            (self.lower / name / "f").write_text("f")
        mount_overlay(self.root, [self.lower], self.upper, work)
        self.addCleanup(umount, self.root, UnmountFlag.DETACH)

    def change(self) -> None:
        (self.root / "changed").write_text("another")
        (self.root / "gone").unlink()
        (self.root / "new").mkdir()
        (self.root / "new" / "f").write_text("new")
        os.link(self.root / "new" / "f", self.root / "new" / "g")
        (self.root / "tree" / "added").write_text("a")
        for name in ("replaced", "emptied"):
            (self.root / name / "f").unlink()
            (self.root / name).rmdir()
        (self.root / "replaced").write_text("file")
        (self.root / "emptied").mkdir()
        (self.root / "etc").mkdir()
        (self.root / "etc" / "hosts").touch()

    async def changes(self) -> list[tuple[int, str]]:
        child = await Child.start("changes", [self.upper, self.lower])
        sink = Collected()
        await child.serve(sink)
        records = sink.data.split(b"\0")[:-1]
        return [(record[0] - 0x30, record[1:].decode()) for record in records]

    async def test_changes(self) -> None:
        self.assertEqual(await self.changes(), [])
        self.change()
        self.assertEqual(
            await self.changes(),
            [
                (0, "/changed"),
                (0, "/emptied"),
                (2, "/emptied/f"),
                (2, "/gone"),
                (1, "/new"),
                (1, "/new/f"),
                (1, "/new/g"),
                (0, "/replaced"),
                (0, "/tree"),
                (1, "/tree/added"),
            ],
        )

    async def test_a_layer_looks_the_same_and_gives_its_archive_again(self) -> None:
        self.change()
        layer = self.outside / "layer"
        layer.mkdir()
        child = await Child.start("layer", [self.upper, layer])
        with closing(child):
            digest, size = await child.line()
            await child.finish()
        self.assertEqual(int(size), len("another") + len("new") + len("a") + len("file"))
        members = await self.served(await Child.start("archive", [layer]))
        self.assertEqual(f"sha256:{hashlib.sha256(self.written).hexdigest()}", digest)
        names = {member.name for member in members}
        self.assertLessEqual({".wh.gone", "emptied/.wh..wh..opq", "new/g"}, names)
        self.assertNotIn("etc/hosts", names)
        again = self.outside / "again"
        again.mkdir()
        mount_overlay(again, [layer, self.lower])
        try:
            self.assertEqual(_tree(again), _tree(self.root))
        finally:
            umount(again)


def _tree(root: Path) -> list[tuple[str, int, bytes]]:
    found = []
    for path in sorted(root.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        name = str(path.relative_to(root))
        if name != "etc/hosts":
            found.append((name, path.lstat().st_mode, content))
    return found
