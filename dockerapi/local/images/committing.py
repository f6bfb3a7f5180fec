"""Images made of what a container has changed in the root of another image.

Source: ImageCommit; the configuration is as a current dockerd writes it. Rule: the archive of such
a layer is not kept: `dockerapi.local.archive.layering` writes it again, byte for byte.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import msgspec

from dockerapi.local.archive.process import Child
from dockerapi.local.host.removal import remove_by_child
from dockerapi.local.host.threads import finished, in_thread
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.image import Image, Layer, chain_ids, digest_of, encode_config
from dockerapi.local.layout import Layout
from dockerapi.model.references import Reference
from dockerapi.model.timestamps import rfc3339

#: What an image has of the one below, besides its layers.
_INHERITED = ("architecture", "os", "os.version", "os.features", "variant")


class Step(msgspec.Struct, frozen=True):
    """What is written down about the making of an image.

    :ivar config: what its containers get from it.
    :ivar command: what ran in the container.
    :ivar container: its id, and `container_config` its own configuration.
    """

    config: Mapping[str, Any]
    command: str
    author: str = ""
    comment: str = ""
    container: str = ""
    container_config: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Committer:
    """Makes images."""

    def __init__(self, catalogue: Catalogue, layout: Layout) -> None:
        self._catalogue = catalogue
        self._layout = layout

    async def commit(self, below: Image, upper: Path, step: Step, name: Reference | None) -> Image:
        """Make the image of `below` and what is in the upper directory of an overlay; return it.

        Raises `ChildFailed`; then nothing of it remains.
        """
        directory = self._layout.tmp / f"layer-{token_hex(8)}"
        try:
            layer = await self._make_layer(below, upper, directory)
            image = await self._add(below, layer, directory, step, name)
        except BaseException:
            await remove_by_child(directory)
            raise
        self._catalogue.publish("create", image, image.id)
        if name is not None:
            self._catalogue.publish("tag", image, name.familiar)
        return image

    async def _make_layer(self, below: Image, upper: Path, directory: Path) -> Layer:
        await finished(in_thread(_make, directory))
        child = await Child.start("layer", [upper, directory])
        try:
            diff_id, size = await child.line()
            await child.finish()
        finally:
            child.close()
        diff_ids = [*(layer.diff_id for layer in below.layers), diff_id]
        return Layer(chain_ids(diff_ids)[-1], diff_id, int(size))

    async def _add(
        self, below: Image, layer: Layer, directory: Path, step: Step, name: Reference | None
    ) -> Image:
        content = self._catalogue.content
        with content.lease() as lease:
            for held in (*below.layers, layer):
                lease.add(held.chain_id)
            for digest in below.blobs:
                lease.add(digest)
            try:
                async with content.alone(layer.chain_id):
                    await content.adopt(layer, directory)
                image = _image(below, layer, step, time.time_ns())
                return await self._catalogue.add(
                    image, (name,) if name is not None else (), tagged=True
                )
            except BaseException:
                names = lease.names
                lease.release()
                await self._catalogue.collect(names)
                raise


def _make(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)


def _image(below: Image, layer: Layer, step: Step, now: int) -> Image:
    config = _config(below, layer, step, now)
    raw = encode_config(config)
    return Image(
        id=digest_of(raw),
        config=config,
        raw=raw,
        layers=(*below.layers, layer),
        blobs=below.blobs,
        arrived=now,
        parent=below.id,
    )


def _config(below: Image, layer: Layer, step: Step, now: int) -> dict[str, Any]:
    created = rfc3339(now)
    told = {"author": step.author, "created_by": step.command, "comment": step.comment}
    history = below.config.get("history")
    optional = {"author": step.author, "comment": step.comment}
    return {
        **{key: below.config[key] for key in _INHERITED if key in below.config},
        **{key: text for key, text in optional.items() if text},
        "config": dict(step.config),
        "container": step.container,
        "container_config": dict(step.container_config),
        "created": created,
        "history": [
            *(history if isinstance(history, list) else []),
            {"created": created, **{key: text for key, text in told.items() if text}},
        ],
        "rootfs": {
            "type": "layers",
            "diff_ids": [*(one.diff_id for one in below.layers), layer.diff_id],
        },
    }
