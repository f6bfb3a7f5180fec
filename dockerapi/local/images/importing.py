"""Images made of one archive of a root file system.

Source: ImageCreate with `fromSrc`; the configuration is as dockerd writes it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.local.images.changes import apply_changes
from dockerapi.local.images.image import Image, digest_of, encode_config
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform, host_platform
from dockerapi.model.references import Reference
from dockerapi.model.timestamps import rfc3339
from dockerapi.wire.duplex import Source

_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


async def import_archive(
    catalogue: Catalogue,
    source: Source,
    *,
    name: Reference | None = None,
    message: str = "",
    changes: Sequence[str] = (),
    wanted: Platform | None = None,
    config: Mapping[str, Any] | None = None,
) -> Image:
    """Make an image of the archive that `source` gives, perhaps compressed; return it.

    `config` is what the changes change. Raises `InvalidParameter` for a change that is none and
    for an archive that is refused.
    """
    try:
        runtime = apply_changes(dict(config or {}), changes)
    except Malformed as malformed:
        raise InvalidParameter(malformed.message) from malformed
    content = catalogue.content
    with content.lease() as lease:
        blob = await content.receive(source)
        lease.add(blob.digest)
        layer, directory = await content.unpack(blob.digest, None, None)
        lease.add(layer.chain_id)
        async with content.alone(layer.chain_id):
            await content.adopt(layer, directory)
        now = time.time_ns()
        raw = encode_config(
            _config(runtime, message or "Imported from -", layer.diff_id, wanted, now)
        )
        image = Image(
            id=digest_of(raw),
            config=_config(runtime, message or "Imported from -", layer.diff_id, wanted, now),
            raw=raw,
            layers=(layer,),
            blobs={blob.digest: _LAYER},
            arrived=now,
        )
        image = await catalogue.add(image, (name,) if name is not None else (), tagged=True)
    if name is not None:
        catalogue.publish("tag", image, name.familiar)
    catalogue.publish("import", image, image.id)
    return image


def _config(
    runtime: Mapping[str, Any], comment: str, diff_id: str, wanted: Platform | None, now: int
) -> dict[str, Any]:
    where = wanted or host_platform()
    created = rfc3339(now)
    config: dict[str, Any] = {
        "architecture": where.architecture or host_platform().architecture,
        "comment": comment,
        "config": dict(runtime),
        "created": created,
        "history": [{"created": created, "comment": comment}],
        "os": where.os or "linux",
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    if where.variant:
        config["variant"] = where.variant
    return config
