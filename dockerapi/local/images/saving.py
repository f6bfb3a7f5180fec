"""ImageGet and ImageGetAll: images in one archive, for `docker load` here or elsewhere.

Source: OCI image-spec, image-layout.md; beside it what Docker's older readers look for:
manifest.json and repositories. Rule: the archive is written while it is made, layers as they came.
"""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from typing import Any

import msgspec
from msgspec import structs

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.errors import InvalidParameter, NotFound
from dockerapi.engine.job import Job
from dockerapi.local.archive import headers
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.image import Image, digest_of
from dockerapi.local.images.layerblobs import LayerArchive, LayerArchives
from dockerapi.local.layout import Layout
from dockerapi.model.archives import SaveRequest
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform
from dockerapi.model.references import Reference
from dockerapi.model.timestamps import NANOSECONDS
from dockerapi.wire.duplex import Sink

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
#: Where names of images stand among the annotations of an index.
FULL_NAME = "io.containerd.image.name"
REFERENCE_NAME = "org.opencontainers.image.ref.name"


class Chosen(msgspec.Struct, frozen=True):
    """An image to be saved, with the names that it is to have there."""

    image: Image
    names: Sequence[Reference]


class Saver:
    """Writes images."""

    def __init__(self, catalogue: Catalogue, layout: Layout) -> None:
        self._catalogue = catalogue
        self._archives = LayerArchives(catalogue, layout)

    async def save(self, job: Job) -> Answer:
        """Answer ImageGet and ImageGetAll.

        Raises `InvalidParameter` where no image is named, and `NotFound` where one is not here.
        """
        request = await job.request(SaveRequest)
        if not request.names:
            raise InvalidParameter("no image is named")
        chosen: dict[str, Chosen] = {}
        for name in request.names:
            for one in self._choose(name):
                _check_platform(one.image, request.platforms, name)
                before = chosen.get(one.image.id)
                names = [*(before.names if before is not None else ()), *one.names]
                chosen[one.image.id] = Chosen(one.image, list(dict.fromkeys(names)))

        async def serve(sink: Sink) -> None:
            with self._catalogue.content.lease() as lease:
                for one in chosen.values():
                    for held in (*one.image.blobs, *(x.chain_id for x in one.image.layers)):
                        lease.add(held)
                await self._write(list(chosen.values()), sink)
            for one in chosen.values():
                self._catalogue.publish("save", one.image, one.image.id)

        return Stream(serve, content_type="application/x-tar")

    def _choose(self, text: str) -> list[Chosen]:
        """Return what a client means: all tags of a name, one name, or an image without one."""
        index = self._catalogue.index
        try:
            reference = Reference.parse(text)
        except Malformed:
            return [Chosen(index.find(text), ())]
        if not reference.tag and not reference.digest:
            found = [
                Chosen(image, [one for one in image.references if _is_tag_of(one, reference)])
                for image in index
            ]
            named = [one for one in found if one.names]
            if named:
                return named
        image = index.find(text)
        is_name = not index.is_id(text, image) and not reference.digest
        return [Chosen(image, [reference.with_default_tag()] if is_name else ())]

    def _nearest(self, image: Image, among: Set[str]) -> str:
        """Return the id of the nearest image of `among` that `image` was made of, or nothing."""
        parent = image.parent
        while parent and parent not in among:
            known = self._catalogue.index.get(parent)
            parent = known.parent if known is not None else ""
        return parent

    async def _write(self, chosen: Sequence[Chosen], sink: Sink) -> None:
        written: set[str] = set()
        for directory in (b"blobs/", b"blobs/sha256/"):
            await sink.write(headers.header(directory, headers.DIRECTORY, mode=0o755))
        among = {one.image.id for one in chosen}
        entries: list[dict[str, Any]] = []
        manifests: list[dict[str, Any]] = []
        repositories: dict[str, dict[str, str]] = {}
        for one in chosen:
            made = max(one.image.created // NANOSECONDS, 0)
            archives = [await self._archives.of(layer) for layer in one.image.layers]
            for archive in archives:
                if archive.digest not in written:
                    written.add(archive.digest)
                    await _write_layer(archive, made, sink)
            manifest = manifest_of(one.image, archives)
            for document, mtime in ((one.image.raw, made), (manifest, 0)):
                if digest_of(document) not in written:
                    written.add(digest_of(document))
                    await _write_file(_blob(digest_of(document)), document, sink, mtime)
            manifests += _descriptors(one, manifest)
            entry = {
                "Config": _blob(one.image.id),
                "RepoTags": [name.familiar for name in one.names] or None,
                "Layers": [_blob(archive.digest) for archive in archives],
            }
            parent = self._nearest(one.image, among)
            entries.append({**entry, "Parent": parent} if parent else entry)
            for name in one.names:
                top = archives[-1].digest.removeprefix("sha256:") if archives else ""
                repositories.setdefault(name.familiar_name, {})[name.tag] = top
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        await _write_file("index.json", encoded(index), sink)
        await _write_file("manifest.json", encoded(entries), sink)
        await _write_file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}', sink)
        if repositories:
            await _write_file("repositories", encoded(repositories), sink)
        await sink.write(headers.END)


def manifest_of(image: Image, archives: Sequence[LayerArchive]) -> bytes:
    """Return a manifest of an image whose layers are in these archives."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": image.id, "size": len(image.raw)},
        "layers": [
            {"mediaType": one.media_type, "digest": one.digest, "size": one.size}
            for one in archives
        ],
    }
    return encoded(document)


def encoded(document: object) -> bytes:
    """Return a document's JSON."""
    return json.dumps(document, separators=(",", ":")).encode()


def _descriptors(chosen: Chosen, manifest: bytes) -> list[dict[str, Any]]:
    """Return an index's entries for an image: one for each of its names, or one without."""
    entry = {"mediaType": MANIFEST, "digest": digest_of(manifest), "size": len(manifest)}
    named = [
        {**entry, "annotations": {FULL_NAME: str(name), REFERENCE_NAME: name.tag}}
        for name in chosen.names
    ]
    return named or [entry]


def _is_tag_of(reference: Reference, name: Reference) -> bool:
    return bool(reference.tag) and structs.replace(reference, tag="") == name


def _check_platform(image: Image, wanted: Sequence[Platform], name: str) -> None:
    """Raise `NotFound` where an image is not for one of the platforms that are asked for."""
    for platform in wanted:
        if not image.platform.fits(platform):
            raise NotFound(
                f"image with reference {name} was found but does not provide the specified "
                f"platform ({platform})"
            )


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


async def _write_layer(archive: LayerArchive, mtime: int, sink: Sink) -> None:
    name = _blob(archive.digest).encode()
    await sink.write(headers.header(name, headers.FILE, mode=0o644, size=archive.size, mtime=mtime))
    await archive.write(sink)
    await sink.write(headers.padding(archive.size))


async def _write_file(name: str, content: bytes, sink: Sink, mtime: int = 0) -> None:
    size = len(content)
    header = headers.header(name.encode(), headers.FILE, mode=0o644, size=size, mtime=mtime)
    await sink.write(header + content + headers.padding(size))
