"""The archives of layers: as they came, or written again from a layer's directory.

Rule: a blob belongs to a layer by the place that it has in a manifest; what is written again is
measured before, and has to have the layer's digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from dockerapi.engine.errors import EngineError
from dockerapi.local.archive.process import Child
from dockerapi.local.host.threads import finished, in_thread
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.image import DOCUMENT_LIMIT, Image, Layer
from dockerapi.local.images.registry.manifests import Manifest, decode_manifest
from dockerapi.local.layout import Layout
from dockerapi.model.malformed import Malformed
from dockerapi.wire.duplex import Sink

#: The media type of a layer that is not compressed.
PLAIN = "application/vnd.oci.image.layer.v1.tar"
_CHUNK = 1 << 18


class LayerArchive(msgspec.Struct, frozen=True):
    """An archive of a layer; `write` gives all of it to a sink."""

    digest: str
    size: int
    media_type: str
    write: Callable[[Sink], Awaitable[None]]


class LayerArchives:
    """Finds and makes them."""

    def __init__(self, catalogue: Catalogue, layout: Layout) -> None:
        self._catalogue = catalogue
        self._layout = layout

    async def of(self, layer: Layer) -> LayerArchive:
        """Return the archive of a layer; raises `EngineError` where there is none any more."""
        found = await in_thread(self._kept, layer)
        if found is not None:
            digest, media_type, size = found
            write = partial(write_file, self._layout.blob(digest))
            return LayerArchive(digest, size, media_type, write)
        child = await Child.start("measure", [self._layout.layer(layer.chain_id)])
        try:
            (size_text,) = await child.line()
            await child.finish()
        finally:
            child.close()
        return LayerArchive(layer.diff_id, int(size_text), PLAIN, partial(self._again, layer))

    def _kept(self, layer: Layer) -> tuple[str, str, int] | None:
        """Return digest, media type and size of a layer's blob; None where none was kept."""
        for image in self._catalogue.index:
            if layer not in image.layers:
                continue
            for digest in self._blobs(image, image.layers.index(layer)):
                if self._catalogue.content.has_blob(digest):
                    path = self._layout.blob(digest)
                    return digest, media_type_of(path), path.stat().st_size
        return None

    def _blobs(self, image: Image, position: int) -> Iterator[str]:
        """Give what manifests and the image itself say of the blob of one of its layers."""
        for digest, kind in image.blobs.items():
            manifest = self._manifest(digest, kind)
            if manifest is not None and position < len(manifest.layers):
                yield manifest.layers[position].digest
        if position == 0 and len(image.blobs) == 1:
            # It was imported; images made of it have its blob too.
            yield from image.blobs

    def _manifest(self, digest: str, kind: str) -> Manifest | None:
        path = self._layout.blob(digest)
        if not kind.endswith("json") or not path.is_file() or path.stat().st_size > DOCUMENT_LIMIT:
            return None
        try:
            decoded = decode_manifest(path.read_bytes(), kind)
        except Malformed:
            return None
        return decoded if isinstance(decoded, Manifest) else None

    async def _again(self, layer: Layer, sink: Sink) -> None:
        child = await Child.start("archive", [self._layout.layer(layer.chain_id)])
        digest = hashlib.sha256()
        try:
            while data := await child.read():
                digest.update(data)
                await sink.write(data)
            await child.finish()
        finally:
            child.close()
        if f"sha256:{digest.hexdigest()}" != layer.diff_id:
            raise EngineError(f"the layer {layer.diff_id} cannot be written as it came")


def media_type_of(path: Path) -> str:
    """Return the media type of a layer's archive, told by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(4)
    for magic, suffix in ((b"\x1f\x8b", "+gzip"), (b"\x28\xb5\x2f\xfd", "+zstd")):
        if start.startswith(magic):
            return PLAIN + suffix
    return PLAIN


async def write_file(path: Path, sink: Sink) -> None:
    """Write a file's content to `sink`."""
    file = await in_thread(open, path, "rb", buffering=0)
    with file:
        while data := await finished(in_thread(file.read, _CHUNK)):
            await sink.write(data)
