"""An image as the engine holds it in memory: its configuration, layers and names.

Source: OCI image-spec, config.md. Rule: an `Image` never changes; its successor replaces it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from dockerapi.engine.errors import NotFound
from dockerapi.model.malformed import Malformed
from dockerapi.model.moments import parse_time
from dockerapi.model.platforms import Platform, host_platform
from dockerapi.model.references import Reference, is_digest

#: The longest configuration or manifest that is read, in bytes (containerd's own limit is 8 MiB).
DOCUMENT_LIMIT = 4 * 1024 * 1024
_LAYERS_LIMIT = 500


class Layer(msgspec.Struct, frozen=True):
    """An unpacked layer.

    :ivar chain_id: names it together with all layers below it (OCI's ChainID).
    :ivar diff_id: digest of its uncompressed archive.
    :ivar size: the bytes of the files in it.
    """

    chain_id: str
    diff_id: str
    size: int


class Image(msgspec.Struct, frozen=True):
    """An image.

    :ivar id: ``sha256:HEX`` of its configuration.
    :ivar config: the OCI image configuration, decoded; `raw` as it came.
    :ivar layers: lowest first.
    :ivar blobs: media types of the manifests and layers that it came in, by digest.
    :ivar references: its names, sorted; with a tag or a manifest's digest each.
    :ivar arrived: when it came here, nanoseconds since 1970; `tagged` when a name was last given
        to it, 0 for never.
    :ivar parent: the id of the image that it was made of by a commit; empty for none.
    """

    id: str
    config: Mapping[str, Any]
    raw: bytes
    layers: tuple[Layer, ...]
    blobs: Mapping[str, str] = msgspec.field(default_factory=dict)
    references: tuple[Reference, ...] = ()
    arrived: int = 0
    tagged: int = 0
    parent: str = ""

    def __repr__(self) -> str:
        # Its configuration may be megabytes long, and has environments in it.
        return f"Image({self.id!r})"

    @property
    def hex(self) -> str:
        """The id without its algorithm."""
        return self.id.removeprefix("sha256:")

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self.hex[:12]

    @property
    def size(self) -> int:
        """The bytes of the files in all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def tags(self) -> tuple[str, ...]:
        """Its names with a tag, in familiar form."""
        return tuple(name.familiar for name in self.references if name.tag)

    @property
    def digests(self) -> tuple[str, ...]:
        """Its names with a digest, in familiar form."""
        return tuple(name.familiar for name in self.references if name.digest)

    @property
    def created(self) -> int:
        """When it was made, nanoseconds since 1970; 0 where that is unknown."""
        return parse_time(self.config.get("created"))

    @property
    def platform(self) -> Platform:
        """What it is for; this host's where its configuration does not say."""
        host = host_platform()
        return Platform.normal(
            str(self.config.get("os") or host.os),
            str(self.config.get("architecture") or host.architecture),
            str(self.config.get("variant") or ""),
        )

    def check_platform(self, wanted: Platform | None, reference: str) -> None:
        """Raise `NotFound` where it is for another platform than `wanted`; None is any.

        `reference` is how the client named it; clients that run an image pull the right one then.
        """
        if wanted is not None and not self.platform.fits(wanted):
            raise NotFound(
                f"image with reference {reference} was found but its platform ({self.platform}) "
                f"does not match the specified platform ({wanted})"
            )

    @property
    def runtime_config(self) -> Mapping[str, Any]:
        """What containers get from it: the configuration's member ``config``."""
        return mapping(self.config.get("config"))

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return mapping(self.runtime_config.get("Labels"))


def mapping(value: Any) -> Mapping[str, Any]:
    """Return `value` where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def decode_config(raw: bytes) -> tuple[dict[str, Any], list[str]]:
    """Return a configuration, decoded, and the diff ids of its layers.

    Raises `Malformed` for what is no configuration of an image.
    """
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError):
        raise Malformed("invalid image configuration: it is no JSON") from None
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    # An image without layers may say so with null.
    diff_ids = (rootfs.get("diff_ids") or []) if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or not all(
        isinstance(item, str) and is_digest(item) for item in diff_ids
    ):
        raise Malformed("invalid image configuration: rootfs.diff_ids is no list of digests")
    if len(diff_ids) > _LAYERS_LIMIT:
        raise Malformed(f"invalid image configuration: more than {_LAYERS_LIMIT} layers")
    return config, diff_ids


def encode_config(config: Mapping[str, Any]) -> bytes:
    """Return a configuration's bytes."""
    return json.dumps(config, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(data: bytes) -> str:
    """Return the digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """Return the chain id of each layer (OCI image-spec, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain
