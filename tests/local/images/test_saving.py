"""Images made of a container's changes, saved, and loaded again."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import tarfile
from functools import partial
from typing import Any

from twisted.trial.unittest import SkipTest

from dockerapi.engine.answers import Stream
from dockerapi.engine.errors import Conflict, EngineError, NotFound
from dockerapi.local.images import committing, loading
from dockerapi.local.images.committing import Committer, Step
from dockerapi.local.images.image import Image
from dockerapi.model.references import Reference
from dockerapi.model.versions import Version
from tests.local.images.support import Archive, Collector, ImagesTestCase
from tests.local.leaving import descriptors, leave
from tests.serving import serve

SMALL = Archive().directory("bin").add("bin/sh", b"#!", mode=0o755).bytes()


class SavingTests(ImagesTestCase):
    """One engine saves, forgets, and loads."""

    async def commit(self, below: str, name: str) -> Image:
        """Make an image of another, with one file more and one less."""
        upper = self.layout.root / "upper"
        if not upper.exists():
            upper.mkdir()
            (upper / "new").write_text("new")
            os.mkdir(upper / "bin")
            os.mknod(upper / "bin" / "sh", stat.S_IFCHR, 0)
        committer = Committer(self.images.catalogue, self.layout)
        image = await self.images.resolve(below)
        reference = Reference.parse(name).with_default_tag()
        return await committer.commit(image, upper, Step({}, "cmd", "me", "hi"), reference)

    async def save(self, *names: str, **query: Any) -> bytes:
        answer = await self.job("ImageGetAll", names=names, **query).run()
        assert isinstance(answer, Stream)
        sink = Collector()
        await answer.serve(sink)
        return sink.data

    async def load(self, data: bytes, **query: Any) -> list[dict[str, Any]]:
        lines = await self.run_job("ImageLoad", body=data, **query)
        self.assertEqual(self.left_over(), [])
        return list(lines)

    async def remove(self, *names: str) -> None:
        for name in names:
            await self.run_job("ImageDelete", name, force=1)

    def documents(self, data: bytes) -> dict[str, Any]:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {
                name: json.load(tar.extractfile(name) or io.BytesIO())
                for name in ("manifest.json", "index.json")
            }

    def without(self, data: bytes, *names: str) -> bytes:
        """Return an archive without some of its members."""
        target = io.BytesIO()
        with (
            tarfile.open(fileobj=io.BytesIO(data)) as old,
            tarfile.open(fileobj=target, mode="w") as new,
        ):
            for member in old:
                if member.name not in names:
                    new.addfile(member, old.extractfile(member) if member.isreg() else None)
        return target.getvalue()

    async def test_a_commit(self) -> None:
        await self.import_image(SMALL, "below")
        image = await self.commit("below", "made:1")
        below = await self.images.resolve("below")
        self.assertEqual((image.parent, len(image.layers)), (below.id, 2))
        top = self.images.layer_paths(image)[0]
        self.assertEqual((top / "bin" / "sh").lstat().st_rdev, 0)
        inspection = await self.run_job("ImageInspect", "made:1")
        self.assertEqual((inspection["Author"], inspection["Comment"]), ("me", "hi"))
        self.assertEqual(inspection["Parent"], below.id)
        await self.restart()
        self.assertEqual((await self.images.resolve("made:1")).parent, below.id)
        self.assertEqual(self.left_over(), [])

    async def test_a_commit_that_fails_leaves_nothing(self) -> None:
        await self.import_image(SMALL, "below")

        async def fail(*_: Any, **__: Any) -> Image:
            raise EngineError("no space left on device")

        layers = set(self.layout.layers.iterdir())
        adding = self.patch(self.images.catalogue, "add", fail)
        with self.assertRaises(EngineError):
            await self.commit("below", "made:1")
        self.assertEqual(self.left_over(), [])
        self.assertEqual(set(self.layout.layers.iterdir()), layers)
        adding.restore()
        image = await self.commit("below", "made:1")
        self.assertTrue((self.images.layer_paths(image)[0] / "new").exists())

    async def test_who_leaves_a_commit(self) -> None:
        await self.import_image(SMALL, "below")
        layers, number = set(self.layout.layers.iterdir()), 1
        while await leave(self, committing, number, partial(self.commit, "below", "made:1")):
            self.assertEqual(self.left_over(), [])
            self.assertEqual(set(self.layout.layers.iterdir()), layers)
            number += 1
        self.assertGreater(number, 1)

    async def test_files_are_as_old_as_their_image(self) -> None:
        await self.import_image(SMALL, "busy")
        image = await self.images.resolve("busy")
        with tarfile.open(fileobj=io.BytesIO(await self.save("busy"))) as tar:
            times = {member.name: member.mtime for member in tar}
        blobs = {f"blobs/sha256/{image.hex}", f"blobs/sha256/{image.layers[0].diff_id[7:]}"}
        made = image.created // 1_000_000_000
        self.assertEqual({name for name, time in times.items() if time == made}, blobs)

    async def test_an_image_without_layers(self) -> None:
        config = json.dumps(
            {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": None}}
        ).encode()
        entries = [{"Config": "config.json", "RepoTags": ["none:1"], "Layers": None}]
        archive = Archive().add("config.json", config)
        archive.add("manifest.json", json.dumps(entries).encode())
        lines = await self.load(archive.bytes())
        self.assertEqual(lines[-1], {"stream": "Loaded image: none:1\n"})
        inspection = await self.run_job("ImageInspect", "none:1")
        self.assertEqual((inspection["RootFS"]["Layers"], inspection["Size"]), ([], 0))
        await self.remove("none:1")
        self.assertEqual(await self.run_job("ImageList"), [])

    async def test_there_and_back(self) -> None:
        await self.import_image(gzip.compress(SMALL), "below")
        image = await self.commit("below", "made:1")
        await self.run_job("ImageTag", "below", repo="below", tag="two")
        data = await self.save("below", "made:1")
        entries = self.documents(data)["manifest.json"]
        self.assertEqual(
            [entry["RepoTags"] for entry in entries], [["below:latest", "below:two"], ["made:1"]]
        )
        await self.remove("made:1", "below:latest", "below:two")
        self.assertEqual(len(self.images), 0)
        lines = await self.load(data)
        told = [f"Loaded image: {name}\n" for name in ("below:latest", "below:two", "made:1")]
        self.assertEqual([line["stream"] for line in lines], told)
        again = await self.images.resolve("made:1")
        self.assertEqual((again.id, again.layers), (image.id, image.layers))
        self.assertEqual((self.images.layer_paths(again)[0] / "new").read_text(), "new")
        # What was loaded has blobs now, and is saved without being written again.
        (entry,) = self.documents(await self.save("made:1"))["manifest.json"]
        # Alone it has no parent beside it.
        self.assertEqual(entry | {"Parent": again.parent}, entries[1])

    async def test_names_that_come_with_an_archive_were_given_before(self) -> None:
        async def named() -> str:
            inspection = await self.run_job("ImageInspect", "below")
            return str(inspection["Metadata"]["LastTagTime"])

        never = "0001-01-01T00:00:00Z"
        await self.import_image(SMALL, "below")
        imported, data = await named(), await self.save("below")
        self.assertNotEqual(imported, never)
        await self.load(data)
        self.assertEqual(await named(), imported)
        await self.remove("below")
        await self.load(data)
        await self.restart()
        self.assertEqual(await named(), never)
        await self.commit("below", "below")
        self.assertNotEqual(await named(), never)

    async def test_what_was_made_of_what_is_kept(self) -> None:
        await self.import_image(SMALL, "below")
        image = await self.commit("below", "made:1")
        committer = Committer(self.images.catalogue, self.layout)
        name = Reference.parse("top:1")
        top = await committer.commit(image, self.layout.root / "upper", Step({}, "", "", ""), name)
        below = await self.images.resolve("below")
        data = await self.save("top:1", "made:1")
        entries = self.documents(data)["manifest.json"]
        self.assertEqual([entry.get("Parent") for entry in entries], [image.id, None])
        # Over what is not saved with them the nearest counts.
        (_, entry) = self.documents(await self.save("below", "top:1"))["manifest.json"]
        self.assertEqual(entry["Parent"], below.id)
        await self.remove("top:1", "made:1", "below")
        await self.load(data)
        await self.restart()
        parents = {one.id: one.parent for one in self.images.catalogue.index}
        self.assertEqual(parents, {top.id: image.id, image.id: ""})

    async def made_of(self, below: str, name: str = "") -> Image:
        """Make an image of `below` by a commit that changes nothing but its author."""
        committer = Committer(self.images.catalogue, self.layout)
        upper = self.layout.root / "none"
        upper.mkdir(exist_ok=True)
        image = await self.images.resolve(below)
        reference = Reference.parse(name).with_default_tag() if name else None
        step = Step({}, "", f"of {below}", "")
        return await committer.commit(image, upper, step, reference)

    async def ids(self, **query: Any) -> set[str]:
        return {entry["Id"] for entry in await self.run_job("ImageList", **query)}

    async def test_what_is_only_in_between(self) -> None:
        below = await self.import_image(SMALL, "below")
        between = await self.made_of("below")
        top = await self.made_of(between.id, "top")
        self.assertEqual(await self.ids(), {below, top.id})
        self.assertEqual(await self.ids(all="1"), {below, between.id, top.id})
        self.assertEqual(await self.ids(filters='{"dangling":["true"]}'), set())
        self.assertEqual(await self.ids(all="1", filters='{"dangling":["true"]}'), set())
        for force in ("0", "1"):
            with self.assertRaises(Conflict) as caught:
                await self.run_job("ImageDelete", between.id, force=force)
            self.assertEqual(
                caught.exception.message,
                f"conflict: unable to delete {between.short_id} (cannot be forced) - "
                "image has dependent child images",
            )
        self.assertIsNone((await self.run_job("ImagePrune"))["ImagesDeleted"])
        await self.run_job("ImageTag", between.id, repo="name")
        gone = await self.run_job("ImageDelete", "name")
        self.assertEqual(gone, [{"Untagged": "name:latest"}])
        self.assertEqual(await self.ids(all="1"), {below, between.id, top.id})

    async def test_parents_go_with_their_last_child(self) -> None:
        below = await self.import_image(SMALL, "below")
        between = [await self.made_of("below")]
        between.append(await self.made_of(between[0].id))
        for name in ("one", "two", "three"):
            await self.made_of(between[1].id, name)
        ids = {image.id for image in between}
        await self.run_job("ImageDelete", "one")
        self.assertLess(ids, await self.ids(all="1"))
        gone = await self.run_job("ImageDelete", "two", noprune="1")
        self.assertEqual(
            len([one for one in gone if "Deleted" in one and one["Deleted"] in ids]), 0
        )
        gone = await self.run_job("ImageDelete", "three")
        self.assertEqual(
            [one for one in gone if one.get("Deleted") in ids],
            [{"Deleted": image.id} for image in reversed(between)],
        )
        self.assertEqual(await self.ids(all="1"), {below})

    async def test_parents_that_are_kept(self) -> None:
        """What a container uses, what has a name, and what was pruned around."""
        await self.import_image(SMALL, "below")
        used, named = await self.made_of("below"), await self.made_of("below", "named")
        self.users.by_image[used.id] = ["c" * 64]
        for parent, name in ((used, "one"), (named, "two")):
            await self.made_of(parent.id, name)
            await self.run_job("ImageDelete", name)
            self.assertIn(parent.id, await self.ids(all="1"))
        self.users.by_image.clear()
        dangling = await self.made_of(used.id)
        pruned = (await self.run_job("ImagePrune"))["ImagesDeleted"]
        deleted = [one["Deleted"] for one in pruned if one["Deleted"] in (used.id, dangling.id)]
        self.assertEqual(deleted, [dangling.id, used.id])

    async def test_nothing_is_its_own_ancestor(self) -> None:
        """What an archive says of parents may be anything."""
        one = await self.import_image(SMALL, "one")
        two = await self.import_image(SMALL, "two", message="another")
        catalogue = self.images.catalogue
        for child, parent in ((one, one), (one, two), (two, one), (one, "sha256:" + "0" * 64)):
            await catalogue.descend(child, parent)
        parents = {image.id: image.parent for image in catalogue.index}
        self.assertEqual(parents, {one: two, two: ""})
        other = await self.import_image(Archive().add("f").bytes(), "other")
        await catalogue.descend(other, one)
        self.assertEqual((await self.images.resolve("other")).parent, "")

    async def test_an_oci_layout(self) -> None:
        identity = await self.import_image(SMALL, "one")
        data = self.without(await self.save("one"), "manifest.json", "repositories")
        await self.remove("one")
        lines = await self.load(data, quiet=0)
        self.assertEqual(lines[-1]["stream"], "Loaded image: one:latest\n")
        self.assertEqual(lines[0]["status"], "Loading layer")
        self.assertEqual((await self.images.resolve("one")).id, identity)

    async def test_compressed_with_zstd(self) -> None:
        if shutil.which("zstd") is None:
            raise SkipTest("zstd is not installed")
        identity = await self.import_image(SMALL, "one")
        data = await self.save("one")
        await self.remove("one")
        packed = subprocess.run(["zstd", "-c"], input=data, check=True, capture_output=True).stdout
        await self.load(packed)
        self.assertEqual((await self.images.resolve("one")).id, identity)
        with self.assertRaises(EngineError):
            await self.load(packed[:-9])

    async def test_by_id_there_is_no_name(self) -> None:
        identity = await self.import_image(SMALL, "one")
        data = await self.save(identity)
        self.assertIsNone(self.documents(data)["manifest.json"][0]["RepoTags"])
        await self.remove("one")
        (line,) = await self.load(data)
        self.assertEqual(line["stream"], f"Loaded image ID: {identity}\n")

    async def test_a_name_is_taken(self) -> None:
        old = await self.import_image(SMALL, "one")
        data = await self.save("one")
        await self.remove("one")
        other = await self.import_image(Archive().add("f", b"f").bytes(), "one")
        lines = await self.load(data)
        self.assertIn(f"renaming the old one with ID {other}", lines[0]["stream"])
        self.assertEqual((await self.images.resolve("one")).id, old)

    async def test_a_quiet_load_is_answered_when_it_is_done(self) -> None:
        await self.import_image(SMALL, "one")
        data = await self.save("one")
        await self.remove("one")
        # Nobody reads this one.
        answer = await self.job("ImageLoad", body=data, quiet=1).run()
        self.assertIsInstance(answer, Stream)
        await self.images.resolve("one")
        self.assertEqual(self.left_over(), [])
        lines = await self.load(data, quiet=1)
        self.assertEqual(lines, [{"stream": "Loaded image: one:latest\n"}])
        spoiled = Archive().add("manifest.json", b'[{"Config": "none", "Layers": ["l"]}]').bytes()
        answer = await self.job("ImageLoad", body=spoiled, quiet=1).run()
        with self.assertRaises(EngineError):
            await serve(answer, Collector())

    async def test_platforms(self) -> None:
        await self.import_image(SMALL, "one", platform="linux/arm64")
        wanted = json.dumps({"os": "linux", "architecture": "arm64"})
        await self.save("one", platform=wanted)
        other = json.dumps({"os": "linux", "architecture": "amd64"})
        with self.assertRaises(NotFound):
            await self.save("one", platform=other)
        await self.save("one", platform=other, version=Version(1, 47))

    async def test_hostile_archives(self) -> None:
        (self.layout.root / "secret").write_text("[]")
        secret = str(self.layout.root / "secret")
        await self.import_image(SMALL, "one")
        saved = await self.save("one")
        entry = self.documents(saved)["manifest.json"][0]
        config, (layer,) = entry["Config"], entry["Layers"]
        with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
            raw = (tar.extractfile(config) or io.BytesIO()).read()
        await self.remove("one")

        def archive(layers: list[str], **files: bytes) -> Archive:
            manifest = [{"Config": "c", "RepoTags": None, "Layers": layers}]
            made = Archive().add("manifest.json", json.dumps(manifest).encode()).add("c", raw)
            for name, content in files.items():
                made.add(name, content)
            return made

        refused = {
            "a link out": Archive().symlink("manifest.json", secret),
            "no file": archive([f"../../{layer}"]),
            "another layer": archive(["l"], l=Archive().add("evil").bytes()),
            "a pipe": archive(["p"]).add("p", type=tarfile.FIFOTYPE),
            "a device": archive(["d"]).add("d", type=tarfile.CHRTYPE),
            "too few": archive([]),
            "nothing": Archive().add("x"),
            "leads out": Archive().add("../x"),
            "no list": Archive().add("manifest.json", b'{"a": 1}'),
            "half a pair": Archive().add("manifest.json", b'[{"Config": "\\ud800"}]'),
            "odd": Archive().add("manifest.json", b'[{"Config": 1}]'),
        }
        for what, made in refused.items():
            with self.assertRaises(EngineError, msg=what) as caught:
                await self.load(made.bytes())
            if what in ("a pipe", "a device"):
                # Not what its driver said: it was never opened.
                self.assertIn("not a regular file", caught.exception.message)
            self.assertEqual(self.left_over(), [], what)
            self.assertEqual(len(self.images), 0, what)
        self.assertEqual(list((self.layout.blobs / "sha256").iterdir()), [])

    async def test_unknown_images(self) -> None:
        with self.assertRaises(NotFound) as caught:
            await self.save("nono")
        self.assertEqual(caught.exception.message, "No such image: nono:latest")
        # It is in the stream, which has begun by then.
        answer = await self.job("ImageLoad", body=b"garbage" * 200).run()
        with self.assertRaises(EngineError) as garbage:
            await serve(answer, Collector())
        self.assertEqual(garbage.exception.message, "archive/tar: invalid tar header")
        self.assertEqual(self.left_over(), [])

    async def test_a_client_that_leaves_while_it_loads(self) -> None:
        await self.import_image(SMALL, "one")
        data = await self.save("one")
        await self.remove("one")
        before, number = descriptors(), 1
        pairs: list[tuple[socket.socket, socket.socket]] = []

        def connect() -> None:
            """Take the next numbers for descriptors, with bytes that are somebody else's."""
            pairs.append(socket.socketpair())
            pairs[-1][1].send(b"mine")

        while await leave(self, loading, number, partial(self.load, data), connect):
            number += 1
            near, far = pairs[-1]
            self.assertEqual(near.recv(10, socket.MSG_DONTWAIT), b"mine")
            near.close()
            far.close()
            self.assertEqual(self.left_over(), [], number)
            self.assertEqual(descriptors(), before, number)
            self.assertEqual(list((self.layout.blobs / "sha256").iterdir()), [], number)
        self.assertGreater(number, 4)
        self.assertEqual(len(self.images), 1)
