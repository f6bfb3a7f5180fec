"""ImageLoad: the images of an archive that `docker save`, or another tool, has written.

Source: OCI image-spec, image-layout.md, and Docker's own manifest.json. Rule: the archive is
unpacked in a child that is confined to a directory; of that, documents are read bounded, and every
layer has to have the digest that the image's configuration says.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex

import msgspec
from msgspec import structs

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.errors import Cancelled, EngineError, InvalidParameter
from dockerapi.engine.job import Job
from dockerapi.local.archive.feeding import Feed
from dockerapi.local.archive.limits import room
from dockerapi.local.archive.process import Child
from dockerapi.local.host.beneath import open_regular, opened_root
from dockerapi.local.host.removal import remove_by_child
from dockerapi.local.host.threads import finished, in_thread
from dockerapi.local.images.archivedocuments import Packed, read_packed
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.content import BadContent, Lease
from dockerapi.local.images.image import Image, Layer, chain_ids, decode_config, digest_of
from dockerapi.local.images.layerblobs import LayerArchive, media_type_of, write_file
from dockerapi.local.images.progress import ProgressLines
from dockerapi.local.images.saving import MANIFEST, manifest_of
from dockerapi.local.layout import Layout
from dockerapi.model.archives import LoadRequest
from dockerapi.model.malformed import Malformed
from dockerapi.model.references import Reference
from dockerapi.wire.duplex import Sink, Source

_CHUNK = 1 << 20


class _Kept:
    """A sink that keeps the few lines of a quiet load, and how it ended, to be told later."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self.error: EngineError | None = None

    async def write(self, data: bytes) -> None:
        self._lines.append(data)

    async def close_write(self) -> None:
        """Do nothing: `tell` is the end."""

    def abort(self, reason: str) -> None:
        """Do nothing: nobody has been told anything."""

    async def tell(self, sink: Sink) -> None:
        """Write what was kept; raise the error that it ended with."""
        await sink.write(b"".join(self._lines))
        if self.error is not None:
            raise self.error


class Loader:
    """Loads images."""

    def __init__(self, catalogue: Catalogue, layout: Layout) -> None:
        self._catalogue = catalogue
        self._layout = layout

    async def load(self, job: Job) -> Answer:
        """Answer ImageLoad: take the archive, then tell what becomes of it.

        A quiet one is answered when all is done: its clients need not read what is told.
        """
        request = await job.request(LoadRequest)
        directory = self._layout.tmp / f"layer-load-{token_hex(8)}"
        try:
            packed = await self._unpacked(request, directory)
        except BaseException as error:
            await remove_by_child(directory)
            if not isinstance(error, EngineError) or isinstance(error, Cancelled):
                raise
            # As dockerd: whatever is wrong with an archive comes after the answer has begun.
            return Stream(partial(_refuse, error), error_lines=True)

        async def serve(sink: Sink) -> None:
            try:
                for one in packed:
                    await self._load(one, directory, sink, quiet=request.quiet)
                for one in packed:
                    await self._catalogue.descend(digest_of(one.config), one.parent)
            finally:
                await remove_by_child(directory)

        if not request.quiet:
            return Stream(serve, error_lines=True)
        kept = _Kept()
        try:
            await serve(kept)
        except EngineError as error:
            if isinstance(error, Cancelled):
                raise
            kept.error = error
        return Stream(kept.tell, error_lines=True)

    async def _unpacked(self, request: LoadRequest, directory: Path) -> Sequence[Packed]:
        """Unpack an archive into a directory that is made for it; return what images it has."""
        await finished(in_thread(directory.mkdir, 0o700))
        await _unpack(request.body, directory)
        try:
            return await in_thread(read_packed, directory, request.platforms)
        except Malformed as malformed:
            raise InvalidParameter(malformed.message) from malformed

    async def _load(self, packed: Packed, directory: Path, sink: Sink, *, quiet: bool) -> None:
        try:
            config, diff_ids = decode_config(packed.config)
        except Malformed as malformed:
            raise InvalidParameter(malformed.message) from malformed
        if len(diff_ids) != len(packed.layers):
            raise BadContent(
                "invalid manifest, layers length mismatch: "
                f"expected {len(packed.layers)}, got {len(diff_ids)}"
            )
        lines = None if quiet else ProgressLines(sink)
        with self._catalogue.content.lease() as lease:
            try:
                archives = [
                    await self._keep(directory, path, digest, lease)
                    for path, digest in packed.layers
                ]
                layers = await self._layers(archives, diff_ids, lease, lines)
                identity = digest_of(packed.config)
                image = Image(identity, config, packed.config, layers, arrived=time.time_ns())
                told = [_renaming(self._catalogue, image, name) for name in packed.names]
                image = await self._record(image, archives, packed)
            except BaseException:
                names = lease.names
                lease.release()
                await self._catalogue.collect(names)
                raise
        self._catalogue.publish("load", image, image.id)
        told += [f"Loaded image: {name.familiar}" for name in packed.names]
        for text in told or [f"Loaded image ID: {image.id}"]:
            if text:
                await sink.write(msgspec.json.encode({"stream": f"{text}\n"}) + b"\r\n")

    async def _keep(self, directory: Path, path: str, expected: str, lease: Lease) -> LayerArchive:
        """Make a file of the archive a blob.

        Raises `BadContent` where it is no file, or its digest is not the `expected` one.
        """
        digest = await in_thread(_digest, directory, path)
        if expected and digest != expected:
            raise BadContent(f"layer verification failed for digest {expected}")
        lease.add(digest)
        blob = self._layout.blob(digest)
        # To its end, also for a client that leaves: what is linked is collected only then.
        size, media_type = await finished(in_thread(_link, directory, path, blob))
        return LayerArchive(digest, size, media_type, partial(write_file, blob))

    async def _layers(
        self,
        archives: Sequence[LayerArchive],
        diff_ids: Sequence[str],
        lease: Lease,
        lines: ProgressLines | None,
    ) -> tuple[Layer, ...]:
        """Unpack the layers that are not here yet; return all, lowest first."""
        content = self._catalogue.content
        chain = chain_ids(diff_ids)
        layers = []
        for number, archive in enumerate(archives):
            lease.add(chain[number])
            async with content.alone(chain[number]):
                layer = content.layer(chain[number])
                if layer is None:
                    parent = chain[number - 1] if number else None
                    layer, directory = await content.unpack(
                        archive.digest, diff_ids[number], parent
                    )
                    await content.adopt(layer, directory)
                    if lines is not None:
                        short = diff_ids[number].removeprefix("sha256:")[:12]
                        lines.count("Loading layer", short, archive.size, archive.size)
            layers.append(layer)
        return tuple(layers)

    async def _record(
        self, image: Image, archives: Sequence[LayerArchive], packed: Packed
    ) -> Image:
        """Keep a manifest, which says whose blobs these are, and record the image."""
        content = self._catalogue.content
        async with content.receiver() as receiver:
            await receiver.write(manifest_of(image, archives))
            manifest = await receiver.keep()
        blobs = {one.digest: one.media_type for one in archives}
        blobs[manifest.digest] = MANIFEST
        return await self._catalogue.add(structs.replace(image, blobs=blobs), packed.names)


async def _refuse(error: EngineError, _: Sink) -> None:
    raise error


@contextmanager
def _opened(directory: Path, path: str) -> Iterator[int]:
    """Open a file of the archive for the block; raises `BadContent` for what is none. Blocks.

    Threads open for themselves what they use: one that nobody awaits any more must not read from a
    number that is another file's by then.
    """
    try:
        with opened_root(directory) as root:
            descriptor = open_regular(root, path)
    except OSError as error:
        raise BadContent(f"open {path}: {(error.strerror or '').lower()}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _digest(directory: Path, path: str) -> str:
    taken = hashlib.sha256()
    with _opened(directory, path) as descriptor:
        while data := os.read(descriptor, _CHUNK):
            taken.update(data)
    return f"sha256:{taken.hexdigest()}"


def _link(directory: Path, path: str, blob: Path) -> tuple[int, str]:
    """Give a file the name `blob`, unless something has it already; return its size and type."""
    with _opened(directory, path) as descriptor:
        os.fchown(descriptor, 0, 0)
        os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
        with contextlib.suppress(FileExistsError):
            # Only with a directory Python lets the link behind it be followed.
            os.link(f"/proc/self/fd/{descriptor}", blob, src_dir_fd=descriptor)
        return os.fstat(descriptor).st_size, media_type_of(blob)


def _renaming(catalogue: Catalogue, image: Image, name: Reference) -> str:
    """Say of whom an image takes a name; nothing where nobody else has it."""
    other = catalogue.index.named(name)
    if other is None or other.id == image.id:
        return ""
    return (
        f"The image {name.familiar} already exists, renaming the old one with ID {other.id} "
        "to empty string"
    )


async def _unpack(body: Source, directory: Path) -> None:
    """Unpack an archive into an empty directory; raises `EngineError` for what is none."""
    async with _child(directory) as (child, feed):
        await child.line()
        await feed.give(body, child)


@asynccontextmanager
async def _child(directory: Path) -> AsyncIterator[tuple[Child, Feed]]:
    with closing(Feed()) as feed:
        # Everything belongs to root, whatever numbers the archive has.
        limit = await in_thread(room, directory)
        arguments = [str(directory), "0", "/", "0", "0", "0", str(limit)]
        child = await Child.start("put", arguments, stdin=feed.reading)
        feed.opened()
        with closing(child):
            yield child, feed
