"""Manifests and indexes of images.

Source: OCI image-spec, manifest.md and image-index.md; Docker's schema 2, which has the same form.
Rule: pure; what a registry says is hostile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import VARIANT_ORDER, Platform
from dockerapi.model.references import is_digest

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
#: What is asked for, the preferred first.
ACCEPTED = (*_INDEXES, *_MANIFESTS)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_LAYERS_LIMIT = 500


class Descriptor(msgspec.Struct, frozen=True):
    """What a manifest says of a blob; `size` in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform = msgspec.field(default_factory=Platform)

    @property
    def short(self) -> str:
        """The first twelve digits of the digest, by which progress names it."""
        return self.digest.partition(":")[2][:12]


class Manifest(msgspec.Struct, frozen=True):
    """One image for one platform."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


class ManifestIndex(msgspec.Struct, frozen=True):
    """Manifests for several platforms."""

    media_type: str
    manifests: tuple[Descriptor, ...]


def decode_manifest(data: bytes, content_type: str) -> Manifest | ManifestIndex:
    """Read a manifest or an index; raises `Malformed`."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise Malformed("invalid manifest: it is no JSON") from None
    if not isinstance(document, dict):
        raise Malformed("invalid manifest: it is no JSON object")
    kind = document.get("mediaType") or content_type.partition(";")[0].strip()
    if document.get("schemaVersion") == 1 or str(kind).startswith(_SCHEMA_1):
        raise Malformed(
            "support for the image format v1 and manifest version 2, schema 1 has been removed"
        )
    if "manifests" in document and "layers" in document:
        # One document that is both would mean different things to different readers.
        raise Malformed("invalid manifest: it has both layers and manifests")
    if kind in _INDEXES or (kind not in _MANIFESTS and "manifests" in document):
        return ManifestIndex(str(kind), _descriptors(document.get("manifests"), 1000))
    if kind in _MANIFESTS or "config" in document:
        return Manifest(
            str(kind),
            _descriptor(document.get("config")),
            _descriptors(document.get("layers"), _LAYERS_LIMIT),
        )
    raise Malformed(f"unsupported manifest format: {str(kind)[:100]}")


def choose(index: ManifestIndex, wanted: Platform) -> Descriptor | None:
    """Return the manifest for a platform, or None where there is none."""
    fitting = [item for item in index.manifests if item.platform.fits(wanted)]
    if not fitting:
        return None
    return min(fitting, key=lambda item: (item.platform.variant != wanted.variant, _rank(item)))


def _rank(item: Descriptor) -> int:
    variant = item.platform.variant
    return VARIANT_ORDER.index(variant) if variant in VARIANT_ORDER else len(VARIANT_ORDER)


def _descriptors(value: Any, limit: int) -> tuple[Descriptor, ...]:
    items: Sequence[Any] = value if isinstance(value, list) else ()
    if not isinstance(value, list) or len(items) > limit:
        raise Malformed("invalid manifest: no list of descriptors, or one that is too long")
    return tuple(_descriptor(item) for item in items)


def _descriptor(value: Any) -> Descriptor:
    if not isinstance(value, dict):
        raise Malformed("invalid manifest: a descriptor is missing")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise Malformed("invalid manifest: a descriptor's digest is no sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Malformed("invalid manifest: a descriptor has no size")
    where = value.get("platform")
    platform = where if isinstance(where, dict) else {}
    return Descriptor(
        str(value.get("mediaType", "")),
        digest,
        size,
        Platform(
            str(platform.get("os", "")),
            str(platform.get("architecture", "")),
            str(platform.get("variant", "")),
        ),
    )
