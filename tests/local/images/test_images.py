"""Import, list, inspect, tag, remove and prune, as jobs of an engine."""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.local.host.filesystem import sync_filesystem
from dockerapi.local.images import content
from dockerapi.model.versions import Version
from tests.local.images.support import Archive, ImagesTestCase

SMALL = Archive().directory("bin").add("bin/sh", b"#!", mode=0o755).bytes()
OTHER = Archive().add("etc/hostname", b"other").bytes()


class ImportTests(ImagesTestCase):
    async def test_an_image_is_there_with_its_layer(self) -> None:
        identity = await self.import_image(SMALL, "busy", changes=["CMD sh", 'ENV a=b c="d e"'])
        image = await self.images.resolve("busy")
        self.assertEqual(image.id, identity)
        self.assertEqual(image.tags, ("busy:latest",))
        self.assertEqual(image.runtime_config["Env"], ["a=b", "c=d e"])
        # What is logged of it shows no environment.
        self.assertEqual(repr(image), f"Image({identity!r})")
        self.assertEqual(image.runtime_config["Cmd"], ["/bin/sh", "-c", "sh"])
        (layer,) = self.images.layer_paths(image)
        self.assertEqual((layer / "bin/sh").read_bytes(), b"#!")
        self.assertEqual((layer / "bin/sh").stat().st_mode & 0o7777, 0o755)
        self.assertEqual(self.left_over(), [])
        self.assertEqual(self.actions(), [("tag", "busy:latest"), ("import", identity)])

    async def test_it_outlives_the_process(self) -> None:
        identity = await self.import_image(SMALL, "busy")
        (self.layout.tmp / "layer-x").mkdir()
        (self.layout.layers / ("0" * 64)).mkdir()
        (self.layout.blobs / "sha256" / ("0" * 64)).touch()
        await self.restart()
        image = await self.images.resolve(identity[7:15])
        self.assertEqual(image.tags, ("busy:latest",))
        self.assertTrue(self.images.layer_paths(image)[0].is_dir())
        self.assertEqual(self.left_over(), [])
        self.assertEqual(len(list(self.layout.layers.iterdir())), 1)
        self.assertEqual(len(list((self.layout.blobs / "sha256").iterdir())), 1)

    def _content(self) -> list[str]:
        blobs = self.layout.blobs / "sha256"
        return sorted(
            path.name for where in (self.layout.layers, blobs) for path in where.iterdir()
        )

    async def test_damaged_rows_are_left_out_and_their_content_stays(self) -> None:
        for statement in (
            "UPDATE images SET config = x'ff7b' WHERE id = ?",
            "UPDATE images SET id = 'junk' WHERE id = ?",
            "UPDATE image_layers SET chain_id = 'junk' WHERE image = ?",
        ):
            name = f"busy{len(self.images)}"
            layer = Archive().add("file", statement.encode()).bytes()
            identity = await self.import_image(layer, name)
            other, before = await self.import_image(OTHER, "other"), self._content()
            await self.store.close()
            with closing(sqlite3.connect(self.layout.database)) as connection, connection:
                connection.execute(statement, (identity,))
            await self.begin()
            self.assertEqual((await self.images.resolve("other")).id, other)
            with self.assertRaises(NotFound, msg=statement):
                await self.images.resolve(identity)
            self.assertEqual(self._content(), before, statement)
            # The same layer can come again.
            again = await self.images.resolve(await self.import_image(layer, name))
            self.assertEqual(again.tags, (f"{name}:latest",))
            self.assertTrue((self.images.layer_paths(again)[0] / "file").is_file())

    async def test_a_damaged_digest_of_a_blob_removes_nothing(self) -> None:
        identity, before = await self.import_image(SMALL, "busy"), self._content()
        await self.store.close()
        with closing(sqlite3.connect(self.layout.database)) as connection, connection:
            connection.execute("UPDATE image_blobs SET digest = '../x'")
        await self.begin()
        self.assertEqual((await self.images.resolve("busy")).id, identity)
        self.assertEqual(self._content(), before)

    async def test_a_damaged_name_is_left_out(self) -> None:
        identity = await self.import_image(SMALL, "busy")
        await self.store.close()
        with closing(sqlite3.connect(self.layout.database)) as connection, connection:
            connection.execute("UPDATE image_references SET name = '../x'")
        await self.begin()
        self.assertEqual((await self.images.resolve(identity)).tags, ())

    async def _refused(self, error: type[EngineError], text: str, **options: Any) -> None:
        with self.assertRaises(error) as caught:
            await self.run_job("ImageCreate", **{"fromSrc": "-", "body": SMALL, **options})
        self.assertIn(text, caught.exception.message)
        self.assertEqual(len(self.images), 0)
        self.assertEqual(self.left_over(), [])

    async def test_bad_requests(self) -> None:
        await self._refused(
            InvalidParameter, "Foo is not a valid change command", changes="Foo bar"
        )
        await self._refused(InvalidParameter, "Invalid containerPort: xx", changes="EXPOSE xx")
        await self._refused(
            InvalidParameter, "cannot import digest reference", repo="a@sha256:" + "0" * 64
        )
        await self._refused(InvalidParameter, "repository name (library/UP)", repo="UP")
        await self._refused(InvalidParameter, "invalid tag format", repo="a", tag="x/y")
        await self._refused(InvalidParameter, "ambiguous tag", repo="sha256", tag="a")
        await self._refused(InvalidParameter, "unknown operating system", platform="beos")
        await self._refused(InvalidParameter, "operating system is not", platform="windows/amd64")
        await self._refused(InvalidParameter, "URL", fromSrc="http://127.0.0.1/x")

    async def test_damaged_archives(self) -> None:
        await self._refused(InvalidParameter, "damaged", body=b"hello")
        await self._refused(InvalidParameter, "damaged", body=SMALL[:700])

    async def test_an_archive_without_a_byte_is_an_empty_image(self) -> None:
        await self.import_image(b"", "none", platform="LINUX/x86_64")
        image = await self.images.resolve("none")
        self.assertEqual((image.size, str(image.platform)), (0, "linux/amd64"))
        (layer,) = image.layers
        self.assertEqual(layer.diff_id, f"sha256:{hashlib.sha256().hexdigest()}")

    async def test_the_same_archive_twice_has_one_layer(self) -> None:
        await self.import_image(SMALL, "one")
        await self.import_image(SMALL, "two")
        self.assertEqual(len(self.images), 2)
        self.assertEqual(len(list(self.layout.layers.iterdir())), 1)
        await self.run_job("ImageDelete", "one")
        image = await self.images.resolve("two")
        self.assertTrue(self.images.layer_paths(image)[0].is_dir())

    async def test_content_is_on_disk_before_it_is_written_down(self) -> None:
        """What survives a power failure: the layer's directory is synced while no row is there."""
        rows: list[int] = []

        def sync(path: Path) -> None:
            with sqlite3.connect(self.layout.database) as database:
                rows.extend(database.execute("SELECT count(*) FROM images").fetchone())
            self.assertEqual(path, self.layout.layers)
            self.assertEqual(len(list(path.iterdir())), 1)
            sync_filesystem(path)

        self.patch(content, "sync_filesystem", sync)
        archive = Archive().add("f", b"1").bytes()
        await self.import_image(archive, "one")
        self.assertEqual(rows, [0])

    async def test_a_disk_that_fails_leaves_no_image(self) -> None:
        def fail(path: Path) -> None:
            raise OSError(errno.EIO, "Input/output error")

        self.patch(content, "sync_filesystem", fail)
        with self.assertRaises(OSError):
            await self.import_image(Archive().add("f", b"1").bytes(), "one")
        self.assertEqual(len(self.images), 0)


class ListTests(ImagesTestCase):
    async def test_fields_by_version(self) -> None:
        identity = await self.import_image(SMALL, "busy")
        (entry,) = await self.run_job("ImageList", version=Version(1, 41))
        self.assertEqual(
            entry,
            {
                "Containers": -1,
                "Created": entry["Created"],
                "Id": identity,
                "Labels": None,
                "ParentId": "",
                "RepoDigests": None,
                "RepoTags": ["busy:latest"],
                "SharedSize": -1,
                "Size": 2,
                "VirtualSize": 2,
            },
        )
        (entry,) = await self.run_job("ImageList", version=Version(1, 47))
        self.assertEqual(entry["RepoDigests"], [])
        self.assertNotIn("VirtualSize", entry)

    async def test_a_change_is_seen(self) -> None:
        self.assertEqual(await self.run_job("ImageList", version=Version(1, 41)), [])
        await self.import_image(SMALL, "busy")
        await self.run_job("ImageTag", "busy", repo="other")
        (entry,) = await self.run_job("ImageList", version=Version(1, 41))
        self.assertEqual(entry["RepoTags"], ["busy:latest", "other:latest"])

    async def test_filters(self) -> None:
        await self.import_image(SMALL, "one", changes="LABEL a=1")
        await self.import_image(OTHER, "two/x", tag="t")
        await self.import_image(OTHER)

        async def names(**filters: list[str]) -> list[list[str]]:
            found = await self.run_job("ImageList", filters=json.dumps(filters))
            return [entry["RepoTags"] for entry in found]

        self.assertEqual(await names(), [[], ["two/x:t"], ["one:latest"]])
        self.assertEqual(await names(dangling=["true"]), [[]])
        self.assertEqual(await names(label=["a"]), [["one:latest"]])
        self.assertEqual(await names(label=["a=2"]), [])
        self.assertEqual(await names(reference=["two/*"]), [["two/x:t"]])
        self.assertEqual(await names(reference=["*"]), [["one:latest"]])
        await self.run_job("ImageTag", "one", repo="three/y")
        self.assertEqual(await names(reference=["three/*"]), [["three/y:latest"]])
        await self.run_job("ImageDelete", "three/y")
        self.assertEqual(await names(before=["two/x:t"]), [["one:latest"]])
        self.assertEqual(await names(since=["one"]), [[], ["two/x:t"]])
        with self.assertRaises(NotFound):
            await names(before=["nosuch"])
        with self.assertRaises(InvalidParameter):
            await names(nosuch=["x"])

    async def test_inspect(self) -> None:
        identity = await self.import_image(SMALL, "busy", changes='CMD ["sh"]')
        answer = await self.run_job("ImageInspect", "busy", version=Version(1, 41))
        self.assertEqual(answer["Id"], identity)
        self.assertEqual(answer["Comment"], "Imported from -")
        self.assertEqual(answer["Config"]["Cmd"], ["sh"])
        self.assertIn("AttachStdin", answer["Config"])
        self.assertIn("ContainerConfig", answer)
        answer = await self.run_job("ImageInspect", identity[:20], version=Version(1, 52))
        self.assertEqual(answer["Config"], {"Cmd": ["sh"]})
        self.assertNotIn("Parent", answer)
        (step,) = await self.run_job("ImageHistory", "busy")
        self.assertEqual((step["Id"], step["Size"], step["Tags"]), (identity, 2, ["busy:latest"]))

    async def test_an_image_for_another_platform_is_not_found(self) -> None:
        await self.import_image(SMALL, "busy", platform="linux/arm64")
        fitting, other = (
            json.dumps({"os": "linux", "architecture": name}) for name in ("aarch64", "amd64")
        )
        for operation in ("ImageInspect", "ImageHistory"):
            await self.run_job(operation, "busy", platform=fitting)
            await self.run_job(operation, "busy", platform=other, version=Version(1, 47))
            with self.assertRaises(NotFound) as caught:
                await self.run_job(operation, "busy", platform=other)
            self.assertEqual(
                caught.exception.message,
                "image with reference busy was found but its platform (linux/arm64) does not "
                "match the specified platform (linux/amd64)",
            )
            with self.assertRaises(InvalidParameter):
                await self.run_job(operation, "busy", platform="linux")
        with self.assertRaisesRegex(InvalidParameter, "cannot both be set"):
            await self.run_job("ImageInspect", "busy", platform=fitting, manifests="1")

    async def test_what_is_missing(self) -> None:
        for name, text in (
            ("nosuch", "No such image: nosuch:latest"),
            ("no/such:thing", "No such image: no/such:thing"),
            ("a" * 64, f"No such image: sha256:{'a' * 64}"),
        ):
            with self.assertRaises(NotFound) as caught:
                await self.run_job("ImageInspect", name)
            self.assertEqual(caught.exception.message, text)


class RemoveTests(ImagesTestCase):
    async def test_the_last_name_takes_the_image_with_it(self) -> None:
        identity = await self.import_image(SMALL, "busy")
        (chain,) = [layer.chain_id for layer in (await self.images.resolve("busy")).layers]
        await self.run_job("ImageTag", "busy", repo="other/name", tag="t1")
        self.assertEqual(
            await self.run_job("ImageDelete", "other/name:t1"), [{"Untagged": "other/name:t1"}]
        )
        self.assertEqual(
            await self.run_job("ImageDelete", "busy"),
            [{"Untagged": "busy:latest"}, {"Deleted": identity}, {"Deleted": chain}],
        )
        self.assertEqual(list(self.layout.layers.iterdir()), [])
        self.assertEqual(list((self.layout.blobs / "sha256").iterdir()), [])
        self.assertEqual(
            self.actions()[-3:], [("untag", identity), ("untag", identity), ("delete", identity)]
        )
        await self.restart()
        self.assertEqual(len(self.images), 0)

    async def test_what_is_being_removed_is_not_found(self) -> None:
        """From the request on, and again where its record cannot be removed."""
        identity = await self.import_image(SMALL, "doomed")
        written: Deferred[None] = Deferred()
        patch = self.patch(self.images.catalogue._store, "write", lambda *_, **__: written)
        (image,) = list(self.images.catalogue.index)
        forgetting = Deferred.fromCoroutine(self.images.catalogue.forget(image))
        with self.assertRaises(NotFound):
            await self.images.resolve("doomed")
        written.errback(OSError("disk full"))
        await self.assertFailure(forgetting, OSError)
        patch.restore()
        self.assertEqual((await self.images.resolve("doomed")).id, identity)

    async def test_conflicts(self) -> None:
        identity = await self.import_image(SMALL, "busy")
        short = identity[7:19]
        container = "c" * 64
        self.users.by_image[identity] = [container]

        async def refused(text: str, name: str, **query: Any) -> None:
            with self.assertRaises(Conflict) as caught:
                await self.run_job("ImageDelete", name, **query)
            self.assertEqual(caught.exception.message, text)

        await refused(
            'conflict: unable to remove repository reference "busy:latest" (must force) - '
            f"container cccccccccccc is using its referenced image {short}",
            "busy:latest",
        )
        await refused(
            f"conflict: unable to delete {short} (must be forced) - "
            "image is being used by stopped container cccccccccccc",
            short,
        )
        self.users.running.add(container)
        await refused(
            f"conflict: unable to delete {short} (cannot be forced) - "
            "image is being used by running container cccccccccccc",
            short,
            force="1",
        )
        gone = await self.run_job("ImageDelete", "busy", force="1")
        self.assertEqual(gone, [{"Untagged": "busy:latest"}])
        image = await self.images.resolve(identity)
        self.assertTrue(self.images.layer_paths(image)[0].is_dir())
        self.users.by_image.clear()
        await self.run_job("ImageTag", short, repo="a")
        await self.run_job("ImageTag", short, repo="b")
        await refused(
            f"conflict: unable to delete {short} (must be forced) - "
            "image is referenced in multiple repositories",
            short,
        )
        with self.assertRaises(InvalidParameter) as blank:
            await self.run_job("ImageDelete", " ")
        self.assertEqual(blank.exception.message, "image name cannot be blank")
        gone = await self.run_job("ImageDelete", short, force="1")
        self.assertEqual(
            gone[:3], [{"Untagged": "a:latest"}, {"Untagged": "b:latest"}, {"Deleted": identity}]
        )

    async def test_prune(self) -> None:
        kept = await self.import_image(SMALL, "busy")
        self.assertEqual(
            await self.run_job("ImagePrune"), {"ImagesDeleted": None, "SpaceReclaimed": 0}
        )
        dangling = await self.import_image(OTHER)
        answer = await self.run_job("ImagePrune")
        self.assertEqual(answer["ImagesDeleted"][0], {"Deleted": dangling})
        self.assertEqual(answer["SpaceReclaimed"], 5)
        answer = await self.run_job("ImagePrune", filters='{"dangling":["false"]}')
        self.assertIn({"Deleted": kept}, answer["ImagesDeleted"])

    async def test_prune_leaves_used_images_the_names_that_are_used(self) -> None:
        identity = await self.import_image(SMALL, "busy")
        for tag in ("b", "a", "z"):
            await self.run_job("ImageTag", "busy", repo="busy", tag=tag)
        self.users.by_image[identity] = ["c1"]
        self.users.named[identity] = ["docker.io/library/busy", "busy:b", identity, "sha256:1", "B"]
        every = '{"dangling":["false"]}'
        self.assertIsNone((await self.run_job("ImagePrune"))["ImagesDeleted"])
        answer = await self.run_job("ImagePrune", filters=every)
        gone = [{"Untagged": "busy:a"}, {"Untagged": "busy:z"}]
        self.assertEqual(answer, {"ImagesDeleted": gone, "SpaceReclaimed": 0})
        self.users.named[identity] = [identity]
        answer = await self.run_job("ImagePrune", filters=every)
        self.assertEqual(answer["ImagesDeleted"], [{"Untagged": "busy:b"}])
        self.assertIsNone((await self.run_job("ImagePrune", filters=every))["ImagesDeleted"])
        told = await self.run_job("ImageInspect", identity)
        self.assertEqual(told["RepoTags"], ["busy:latest"])
