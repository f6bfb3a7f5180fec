"""Pulling from a real registry, from one that misbehaves, and what is never connected to."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from tests.local.images.registry import OCI_INDEX, OCI_MANIFEST, Registry, digest
from tests.local.images.support import Archive, ImagesTestCase

BASE = Archive().directory("bin").add("bin/sh", b"#!" * 5000, mode=0o755).bytes()
TOP = Archive().add("bin/.wh.sh").add("etc/motd", b"hello").bytes()


class PullTests(ImagesTestCase):
    if shutil.which("docker-registry") is None:
        skip = "docker-registry is not installed"

    async def setUp(self) -> None:
        await super().setUp()
        self.registry = Registry()
        self.addCleanup(self.registry.stop)

    def name(self, repository: str) -> str:
        return f"{self.registry.host}/{repository}"

    async def pull(self, repository: str, tag: str = "latest", **query: Any) -> list[str]:
        lines = await self.run_job("ImageCreate", fromImage=self.name(repository), tag=tag, **query)
        return [
            f"{line['id']} {line['status']}" if "id" in line else line["status"]
            for line in lines
            if line["status"] not in ("Downloading", "Extracting")
        ]

    async def test_lines_and_image(self) -> None:
        manifest = self.registry.push_image("some/thing", "v1", [BASE, TOP])
        one, two = (layer["digest"][7:19] for layer in manifest["layers"])
        lines = await self.pull("some/thing", "v1")
        self.assertEqual(
            sorted(lines[:-2]),
            sorted(
                [
                    "v1 Pulling from some/thing",
                    *(
                        f"{layer} {status}"
                        for layer in (one, two)
                        for status in (
                            "Pulling fs layer",
                            "Verifying Checksum",
                            "Download complete",
                            "Pull complete",
                        )
                    ),
                ]
            ),
        )
        self.assertEqual(
            lines[-2:],
            [
                f"Digest: {manifest['digest']}",
                f"Status: Downloaded newer image for {self.name('some/thing')}:v1",
            ],
        )
        image = await self.images.resolve(self.name("some/thing:v1"))
        self.assertEqual(image.id, manifest["config"]["digest"])
        self.assertEqual(image.digests, (f"{self.name('some/thing')}@{manifest['digest']}",))
        top, base = self.images.layer_paths(image)
        self.assertEqual((base / "bin/sh").stat().st_size, 10000)
        self.assertEqual((top / "bin/sh").stat().st_rdev, 0)
        self.assertTrue((top / "bin/sh").is_char_device())
        self.assertEqual(self.left_over(), [])
        again = await self.pull("some/thing", "v1")
        self.assertEqual(again[-1], f"Status: Image is up to date for {self.name('some/thing')}:v1")
        self.assertEqual(again[1:3], [f"{one} Already exists", f"{two} Already exists"])
        found = await self.images.resolve(self.name(f"some/thing@{manifest['digest']}"))
        self.assertEqual(found.id, image.id)
        gone = await self.run_job("ImageDelete", self.name("some/thing:v1"))
        self.assertEqual(len(gone), 5)
        self.assertEqual(list((self.layout.blobs / "sha256").iterdir()), [])
        self.assertEqual(list(self.layout.layers.iterdir()), [])

    async def test_an_index_gives_the_platform(self) -> None:
        here = self.registry.push_image("multi", "a", [BASE])
        there = self.registry.push_image("multi", "b", [TOP], architecture="s390x")
        self.registry.push_manifest(
            "multi",
            "latest",
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [
                    {
                        "mediaType": OCI_MANIFEST,
                        "digest": item["digest"],
                        "size": len(json.dumps({k: v for k, v in item.items() if k != "digest"})),
                        "platform": {"os": "linux", "architecture": architecture},
                    }
                    for item, architecture in ((there, "s390x"), (here, "amd64"))
                ],
            },
        )
        await self.pull("multi", platform="linux/amd64")
        image = await self.images.resolve(self.name("multi"))
        self.assertEqual(image.id, here["config"]["digest"])
        await self.pull("multi", platform="linux/s390x")
        image = await self.images.resolve(self.name("multi"))
        self.assertEqual(image.id, there["config"]["digest"])
        with self.assertRaises(NotFound) as caught:
            await self.pull("multi", platform="linux/riscv64")
        self.assertIn("no matching manifest for linux/riscv64", caught.exception.message)

    async def test_what_is_not_there(self) -> None:
        with self.assertRaises(NotFound) as caught:
            await self.pull("nosuch", "x")
        self.assertEqual(
            caught.exception.message,
            f"manifest for {self.name('nosuch:x')} not found: manifest unknown: manifest unknown",
        )
        with self.assertRaises(EngineError) as refused:
            await self.run_job("ImageCreate", fromImage="127.0.0.1:1/x", tag="y")
        self.assertEqual(
            refused.exception.message,
            'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
        )

    async def test_a_tampered_layer_leaves_nothing(self) -> None:
        manifest = self.registry.push_image("bad", "latest", [BASE + b"\0" * 512])
        blob = manifest["layers"][0]
        path = self.registry.blob_path(blob["digest"])
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with self.assertRaises(InvalidParameter) as caught:
            await self.pull("bad")
        self.assertIn(f"verification failed for digest {blob['digest']}", caught.exception.message)
        await self._nothing_left()

    async def test_layers_that_are_not_the_configurations(self) -> None:
        self.registry.push_image(
            "wrong", "latest", [BASE], rootfs={"type": "layers", "diff_ids": [digest(b"x")]}
        )
        with self.assertRaises(InvalidParameter) as caught:
            await self.pull("wrong")
        self.assertIn("failed to register layer", caught.exception.message)
        await self._nothing_left()

    async def test_who_leaves_ends_it(self) -> None:
        self.registry.push_image("left", "latest", [os.urandom(1) + BASE[1:]])
        answer = await self.job("ImageCreate", fromImage=self.name("left")).run()

        class Gone:
            async def write(self, data: bytes) -> None:
                if b"Pulling fs" in data:
                    running.cancel()

            async def close_write(self) -> None: ...

            def abort(self, reason: str) -> None: ...

        blocked: Deferred[None] = Deferred()
        running = Deferred.fromCoroutine(self._later(blocked, answer, Gone()))
        running.addErrback(lambda _: None)
        blocked.callback(None)
        await running
        await self._nothing_left()

    @staticmethod
    async def _later(blocked: Deferred[None], answer: Any, sink: Any) -> None:
        await blocked
        await answer.serve(sink)

    async def test_two_at_once(self) -> None:
        self.registry.push_image("both", "latest", [BASE, TOP])
        await gatherResults(
            [Deferred.fromCoroutine(self.pull("both")) for _ in range(3)], consumeErrors=True
        )
        self.assertEqual(len(self.images), 1)
        self.assertEqual(self.left_over(), [])

    async def _nothing_left(self) -> None:
        self.assertEqual(len(self.images), 0)
        self.assertEqual(list((self.layout.blobs / "sha256").iterdir()), [])
        self.assertEqual(list(self.layout.layers.iterdir()), [])
        self.assertEqual(self.left_over(), [])
