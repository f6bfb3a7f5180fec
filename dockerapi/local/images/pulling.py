"""Pulling images from registries.

Source: ImageCreate with `fromImage`. Rule: nothing is visible before everything is here and
verified; what an interrupted pull leaves is removed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import cast
from weakref import WeakSet

import msgspec
from msgspec import structs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IReactorTime

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.content import BadContent, Lease
from dockerapi.local.images.image import (
    DOCUMENT_LIMIT,
    Image,
    Layer,
    chain_ids,
    decode_config,
    digest_of,
)
from dockerapi.local.images.progress import ProgressLines
from dockerapi.local.images.registry.client import RegistryClient, Unreachable
from dockerapi.local.images.registry.download import download
from dockerapi.local.images.registry.manifests import (
    Descriptor,
    Manifest,
    ManifestIndex,
    choose,
    decode_manifest,
)
from dockerapi.local.images.registry.places import places
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform, host_platform
from dockerapi.model.references import Reference
from dockerapi.wire.duplex import Sink

#: How many layers of one pull are downloaded at the same time, as in dockerd.
PARALLEL = 3
#: How long one way to reach a registry may take where there are others, in seconds: a server
#: without TLS may wait for the end of what it takes for a line.
PROBE_PATIENCE = 5.0


class Found(msgspec.Struct, frozen=True):
    """An image at a registry: its manifest and configuration, verified.

    :ivar digest: of what the reference named: an index, or the manifest itself.
    :ivar documents: the manifests that led here, by digest: media type and bytes.
    """

    client: RegistryClient
    digest: str
    manifest: Manifest
    documents: dict[str, tuple[str, bytes]]


class Puller:
    """Pulls images."""

    def __init__(
        self, catalogue: Catalogue, insecure: Sequence[str], mirrors: Sequence[str]
    ) -> None:
        self._catalogue = catalogue
        self._insecure = insecure
        self._mirrors = mirrors
        # Weak, since a stream that nobody reads never closes its client.
        self._clients: WeakSet[RegistryClient] = WeakSet()

    async def stop(self) -> None:
        """Close the connections to registries."""
        for client in tuple(self._clients):
            await self._close(client)

    async def pull(self, reference: Reference, platform: Platform | None) -> Answer:
        """Find an image and return the stream that pulls it, telling how far it is.

        Raises `NotFound` and `EngineError` where it is not found.
        """
        found = await self._find(reference, platform)

        async def serve(sink: Sink) -> None:
            try:
                await self._fetch(found, reference, ProgressLines(sink))
            finally:
                await self._close(found.client)

        return Stream(serve, error_lines=True)

    async def _find(self, reference: Reference, platform: Platform | None) -> Found:
        """Look for the image at each place in turn; the last place's error is the answer."""
        from twisted.internet import reactor

        error: EngineError = EngineError(f"no registry for {reference.familiar}")
        for ways in places(reference.domain, self._insecure, self._mirrors):
            for place in ways:
                client = RegistryClient(reactor, place, reference.path)
                self._clients.add(client)
                try:
                    if place is ways[-1]:
                        await client.ping()
                    else:
                        await client.ping(PROBE_PATIENCE)
                    return await self._resolve(client, reference, platform)
                except Unreachable as unreachable:
                    error = unreachable
                    await self._close(client)
                except EngineError as refusal:
                    error = refusal
                    await self._close(client)
                    break
                except BaseException:
                    await self._close(client)
                    raise
        raise error

    async def _resolve(
        self, client: RegistryClient, reference: Reference, platform: Platform | None
    ) -> Found:
        documents: dict[str, tuple[str, bytes]] = {}
        try:
            data, kind = await client.manifest(reference.digest or reference.tag)
        except NotFound as error:
            raise _not_found(reference, error) from error
        digest = digest_of(data)
        if reference.digest and digest != reference.digest:
            raise BadContent(f"manifest verification failed for digest {reference.digest}")
        try:
            decoded = decode_manifest(data, kind)
            documents[digest] = (decoded.media_type, data)
            if isinstance(decoded, ManifestIndex):
                chosen = choose(decoded, platform or host_platform())
                if chosen is None:
                    raise NotFound(
                        f"no matching manifest for {platform or host_platform()} "
                        "in the manifest list entries"
                    )
                data, kind = await client.manifest(chosen.digest)
                if digest_of(data) != chosen.digest:
                    raise BadContent(f"manifest verification failed for digest {chosen.digest}")
                decoded = decode_manifest(data, kind)
                documents[chosen.digest] = (decoded.media_type, data)
        except Malformed as malformed:
            raise InvalidParameter(malformed.message) from malformed
        if isinstance(decoded, ManifestIndex):
            raise InvalidParameter("invalid manifest: an index within an index")
        return Found(client, digest, decoded, documents)

    async def _fetch(self, found: Found, reference: Reference, lines: ProgressLines) -> None:
        await lines.begin(f"Pulling from {reference.path}", reference.digest or reference.tag)
        raw = await self._config(found)
        try:
            config, diff_ids = decode_config(raw)
        except Malformed as malformed:
            raise InvalidParameter(malformed.message) from malformed
        identity = found.manifest.config.digest
        if len(diff_ids) != len(found.manifest.layers):
            raise BadContent("layers from manifest don't match image configuration")
        known = self._catalogue.index.get(identity)
        layers: tuple[Layer, ...]
        with self._catalogue.content.lease() as lease:
            try:
                layers = await self._layers(found, diff_ids, lease, lines)
                image = await self._record(
                    found, reference, Image(identity, config, raw, layers, arrived=time.time_ns())
                )
            except BaseException:
                names = lease.names
                lease.release()
                await self._catalogue.collect(names)
                raise
        await lines.say(f"Digest: {found.digest}")
        fresh = "Image is up to date" if known is not None else "Downloaded newer image"
        await lines.say(f"Status: {fresh} for {reference.familiar}")
        self._catalogue.publish_for("pull", reference.familiar, image, reference.familiar_name)

    async def _config(self, found: Found) -> bytes:
        wanted = found.manifest.config
        if wanted.size > DOCUMENT_LIMIT:
            raise BadContent("invalid manifest: the image's configuration is too large")
        known = self._catalogue.index.get(wanted.digest)
        if known is not None:
            return known.raw
        raw = await found.client.document(wanted.digest)
        if digest_of(raw) != wanted.digest:
            raise BadContent(f"image config verification failed for digest {wanted.digest}")
        return raw

    async def _layers(
        self, found: Found, diff_ids: Sequence[str], lease: Lease, lines: ProgressLines
    ) -> tuple[Layer, ...]:
        """Bring every layer here; return them, lowest first."""
        content = self._catalogue.content
        chain = chain_ids(diff_ids)
        for name in (*chain, *(blob.digest for blob in found.manifest.layers)):
            lease.add(name)
        present = 0
        while present < len(chain) and content.layer(chain[present]) is not None:
            await lines.say("Already exists", found.manifest.layers[present].short)
            present += 1
        slots = DeferredSemaphore(PARALLEL)
        for blob in found.manifest.layers[present:]:
            await lines.say("Pulling fs layer", blob.short)
        downloads = [
            Deferred.fromCoroutine(self._download(found, blob, slots, lines))
            for blob in found.manifest.layers[present:]
        ]
        try:
            return await self._register(found, diff_ids, present, downloads, lines)
        finally:
            # All of them: what is still under way would write into what is removed.
            for waiting in downloads:
                waiting.cancel()
            for waiting in downloads:
                waiting.addErrback(lambda _: None)
            await gatherResults(downloads)

    async def _download(
        self, found: Found, blob: Descriptor, slots: DeferredSemaphore, lines: ProgressLines
    ) -> None:
        from twisted.internet import reactor

        await slots.acquire()
        try:
            pace = _Pace()

            def progress(size: int) -> None:
                if pace.due():
                    lines.count("Downloading", blob.short, size, blob.size)

            await download(
                found.client,
                blob,
                self._catalogue.content,
                cast(IReactorTime, reactor),
                progress,
            )
        finally:
            slots.release()
        await lines.say("Verifying Checksum", blob.short)
        await lines.say("Download complete", blob.short)

    async def _register(
        self,
        found: Found,
        diff_ids: Sequence[str],
        present: int,
        downloads: Sequence[Deferred[None]],
        lines: ProgressLines,
    ) -> tuple[Layer, ...]:
        """Unpack layers in order, each once it is here."""
        content = self._catalogue.content
        chain = chain_ids(diff_ids)
        layers: list[Layer] = []
        for number, (chain_id, blob) in enumerate(zip(chain, found.manifest.layers, strict=True)):
            if number >= present:
                await downloads[number - present]
            async with content.alone(chain_id):
                layer = content.layer(chain_id)
                if layer is None:
                    layer, directory = await content.unpack(
                        blob.digest,
                        diff_ids[number],
                        chain[number - 1] if number else None,
                        lambda size, blob=blob: lines.count(  # type: ignore[misc]
                            "Extracting", blob.short, size, blob.size
                        ),
                    )
                    lines.count("Extracting", blob.short, blob.size, blob.size)
                    await content.adopt(layer, directory)
            if number >= present:
                await lines.say("Pull complete", blob.short)
            layers.append(layer)
        return tuple(layers)

    async def _record(self, found: Found, reference: Reference, image: Image) -> Image:
        """Keep the manifests, then record the image with its names."""
        content = self._catalogue.content
        blobs = {
            layer.digest: layer.media_type
            for layer in found.manifest.layers
            if content.has_blob(layer.digest)
        }
        for digest, (kind, data) in found.documents.items():
            async with content.receiver() as receiver:
                await receiver.write(data)
                await receiver.keep(digest)
            blobs[digest] = kind
        names = [reference.with_digest(found.digest)]
        if reference.tag:
            names.append(structs.replace(reference, digest=""))
        return await self._catalogue.add(structs.replace(image, blobs=blobs), names)

    async def _close(self, client: RegistryClient) -> None:
        if client in self._clients:
            self._clients.discard(client)
            try:
                await client.close()
            except CancelledError:
                return


class _Pace:
    """Lets something through ten times a second."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Tell whether it is time again."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 0.1
        return True


def _not_found(reference: Reference, error: NotFound) -> NotFound:
    if error.message.startswith(("denied", "unauthorized")):
        return NotFound(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may "
            f"require 'docker login': {error.message}"
        )
    return NotFound(f"manifest for {reference.familiar} not found: {error.message}")
