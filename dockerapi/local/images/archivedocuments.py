"""What an unpacked archive of images says that it holds.

Source: Docker's manifest.json; OCI image-spec, image-layout.md. Rule: every file is opened beneath
the archive's directory, is regular and of bounded size; functions here block for small files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from dockerapi.local.host.beneath import read_beneath
from dockerapi.local.images.image import DOCUMENT_LIMIT, digest_of
from dockerapi.local.images.registry.manifests import (
    Descriptor,
    Manifest,
    ManifestIndex,
    choose,
    decode_manifest,
)
from dockerapi.local.images.saving import FULL_NAME, REFERENCE_NAME
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform, host_platform
from dockerapi.model.references import Reference

_IMAGES_LIMIT = 1000


class Packed(msgspec.Struct, frozen=True):
    """An image in an archive.

    :ivar layers: the paths of their archives, lowest first, and the digests that those must have;
        empty where the archive does not say.
    :ivar parent: the id of the image that it was made of; empty where the archive does not say.
    """

    config: bytes
    names: tuple[Reference, ...]
    layers: tuple[tuple[str, str], ...]
    parent: str = ""


def read_packed(directory: Path, platforms: Sequence[Platform]) -> list[Packed]:
    """Return the images of an archive; of those for several platforms one for each of `platforms`.

    Raises `Malformed` for what holds none.
    """
    try:
        listed = _read_json(directory, "manifest.json")
    except FileNotFoundError:
        return _read_layout(directory, platforms)
    if not isinstance(listed, list) or len(listed) > _IMAGES_LIMIT:
        raise Malformed("invalid archive: manifest.json is no list of images")
    return [_packed(directory, entry) for entry in listed]


def _packed(directory: Path, entry: Any) -> Packed:
    """Read an entry of Docker's manifest.json."""
    if not isinstance(entry, dict):
        raise Malformed("invalid archive: manifest.json is no list of images")
    config: Any = entry.get("Config")
    layers: Any = entry.get("Layers") or []
    tags: Any = entry.get("RepoTags") or []
    if not isinstance(config, str) or not _are_texts(layers) or not _are_texts(tags):
        raise Malformed("invalid archive: an image of manifest.json lacks its parts")
    names = tuple(Reference.parse(tag).with_default_tag() for tag in tags)
    parent = entry.get("Parent")
    return Packed(
        _read(directory, config),
        names,
        tuple((path, "") for path in layers),
        parent if isinstance(parent, str) else "",
    )


def _read_layout(directory: Path, platforms: Sequence[Platform]) -> list[Packed]:
    try:
        document = _read_json(directory, "index.json")
    except FileNotFoundError:
        raise Malformed(
            "invalid archive: it has neither a manifest.json nor an index.json"
        ) from None
    index = decode_manifest(msgspec.json.encode(document), "")
    if not isinstance(index, ManifestIndex):
        raise Malformed("invalid archive: its index.json is no index")
    # Names stand among the annotations, which the decoded form does not have.
    found: dict[str, Packed] = {}
    for entry, item in zip(document["manifests"], index.manifests, strict=True):
        name = _name(entry.get("annotations"))
        for one in _resolve(directory, item, platforms):
            identity = digest_of(one.config)
            before = found.get(identity, one)
            names = dict.fromkeys((*before.names, *([name] if name is not None else ())))
            found[identity] = structs.replace(before, names=tuple(names))
    return list(found.values())


def _resolve(
    directory: Path, item: Descriptor, platforms: Sequence[Platform], *, nested: bool = False
) -> Iterator[Packed]:
    """Give the images that an entry of an index means."""
    data = _read(directory, _path(item.digest))
    if digest_of(data) != item.digest:
        raise Malformed(f"manifest verification failed for digest {item.digest}")
    decoded = decode_manifest(data, item.media_type)
    if isinstance(decoded, Manifest):
        config = _read(directory, _path(decoded.config.digest))
        if digest_of(config) != decoded.config.digest:
            raise Malformed(f"image config verification failed for digest {decoded.config.digest}")
        layers = tuple((_path(layer.digest), layer.digest) for layer in decoded.layers)
        yield Packed(config, (), layers)
        return
    if nested:
        raise Malformed("invalid manifest: an index within an index")
    for platform in platforms or (host_platform(),):
        chosen = choose(decoded, platform)
        if chosen is None:
            raise Malformed(f"no matching manifest for {platform} in the archive")
        yield from _resolve(directory, chosen, platforms, nested=True)


def _name(annotations: Any) -> Reference | None:
    known = annotations if isinstance(annotations, dict) else {}
    for key in (FULL_NAME, REFERENCE_NAME):
        text = known.get(key)
        # Other tools write a tag alone.
        if isinstance(text, str) and (key == FULL_NAME or ":" in text):
            reference = Reference.parse(text)
            return None if reference.digest else reference.with_default_tag()
    return None


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read(directory: Path, path: str) -> bytes:
    try:
        return read_beneath(directory, path, DOCUMENT_LIMIT)
    except OSError as error:
        raise Malformed(f"open {path}: {(error.strerror or '').lower()}") from error


def _read_json(directory: Path, path: str) -> Any:
    """Read a document; raises FileNotFoundError where there is none."""
    try:
        # Unlike json it refuses halves of surrogate pairs, of which no path can be made.
        return msgspec.json.decode(read_beneath(directory, path, DOCUMENT_LIMIT))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Malformed(f"invalid archive: {path} cannot be read") from error
