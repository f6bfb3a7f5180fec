"""Rows of images in the store.

Rule: each function is the whole of one transaction, run by `Store.write` or `Store.read`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

from msgspec import structs
from twisted.logger import Logger

from dockerapi.local.images.image import Image, Layer, chain_ids, decode_config
from dockerapi.model.malformed import Malformed
from dockerapi.model.references import Reference, is_digest

_log = Logger()


class Loaded(NamedTuple):
    """What the store has of images.

    :ivar images: those that can be read.
    :ivar whole: whether that is all; else nobody knows which content is needed.
    """

    images: list[Image]
    whole: bool


def load(db: sqlite3.Connection) -> Loaded:
    """Return every image; what is damaged is left out, and logged."""
    layers: dict[str, list[Layer]] = {}
    for image, chain_id, diff_id, size in db.execute(
        "SELECT image, chain_id, diff_id, layers.size FROM image_layers"
        " JOIN layers USING (chain_id) ORDER BY image, position"
    ):
        layers.setdefault(image, []).append(Layer(chain_id, diff_id, size))
    whole = True
    blobs: dict[str, dict[str, str]] = {}
    for image, digest, kind in db.execute("SELECT image, digest, media_type FROM image_blobs"):
        if is_digest(digest):
            blobs.setdefault(image, {})[digest] = kind
        else:
            whole = False
            _log.error("a blob of the image {id} has no digest: {text}", id=image, text=digest)
    names = _load_names(db)
    images: list[Image] = []
    for identity, raw, arrived, tagged, parent in db.execute(
        "SELECT id, config, arrived, tagged, parent FROM images"
    ):
        image = Image(
            id=identity,
            config={},
            raw=raw,
            layers=tuple(layers.get(identity, ())),
            blobs=blobs.get(identity, {}),
            references=tuple(sorted(names.get(identity, ()))),
            arrived=arrived,
            tagged=tagged,
            parent=parent,
        )
        try:
            images.append(_checked(image))
        except ValueError as error:
            whole = False
            _log.error("the rows of the image {id} are damaged: {error}", id=identity, error=error)
    return Loaded(images, whole)


def _load_names(db: sqlite3.Connection) -> dict[str, list[Reference]]:
    """Return the names of images by their ids."""
    names: dict[str, list[Reference]] = {}
    for name, image in db.execute("SELECT name, image FROM image_references ORDER BY name"):
        try:
            names.setdefault(image, []).append(Reference.parse(name))
        except Malformed as error:
            text = "the name {name} of the image {id} is damaged: {error}"
            _log.error(text, name=name, id=image, error=error)
    return names


def _checked(image: Image) -> Image:
    """Return a stored image with its configuration; raises ValueError for one that is damaged."""
    try:
        config, diff_ids = decode_config(image.raw)
    except Malformed as error:
        raise ValueError(str(error)) from error
    if not is_digest(image.id):
        raise ValueError("the id is no digest")
    if [layer.chain_id for layer in image.layers] != chain_ids(diff_ids):
        raise ValueError("its layers are others than its configuration says")
    return structs.replace(image, config=config)


def add(db: sqlite3.Connection, image: Image, names: Iterable[Reference], now: int) -> None:
    """Record an image with its layers and blobs, and give it `names`.

    An image that is there already gets the blobs that are new.
    """
    db.execute(
        "INSERT INTO images (id, config, size, arrived, tagged, parent) VALUES (?, ?, ?, ?, 0, ?)"
        # What is there may be damaged.
        " ON CONFLICT (id) DO UPDATE SET config = excluded.config",
        (image.id, image.raw, image.size, image.arrived, image.parent),
    )
    for position, layer in enumerate(image.layers):
        db.execute(
            "INSERT INTO layers (chain_id, diff_id, size) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            structs.astuple(layer),
        )
        db.execute(
            "INSERT INTO image_layers (image, position, chain_id) VALUES (?, ?, ?)"
            " ON CONFLICT (image, position) DO UPDATE SET chain_id = excluded.chain_id",
            (image.id, position, layer.chain_id),
        )
    db.executemany(
        "INSERT INTO image_blobs (image, digest, media_type) VALUES (?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(image.id, digest, kind) for digest, kind in image.blobs.items()],
    )
    name(db, image.id, names, now)


def name(db: sqlite3.Connection, identity: str, names: Iterable[Reference], now: int) -> None:
    """Give an image names, taking them from whichever image has them.

    `now` is when somebody does so; 0 where they came with it.
    """
    rows = [(str(reference), identity) for reference in names]
    db.executemany(
        "INSERT INTO image_references (name, image) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET image = excluded.image",
        rows,
    )
    if rows and now:
        db.execute("UPDATE images SET tagged = ? WHERE id = ?", (now, identity))


def set_parent(db: sqlite3.Connection, identity: str, parent: str) -> None:
    """Record which image another was made of."""
    db.execute("UPDATE images SET parent = ? WHERE id = ?", (parent, identity))


def remove(db: sqlite3.Connection, identity: str | None, names: Collection[Reference]) -> None:
    """Take `names` away, then remove the image `identity` if one is given, with lone layers."""
    db.executemany(
        "DELETE FROM image_references WHERE name = ?", [(str(reference),) for reference in names]
    )
    if identity is not None:
        db.execute("DELETE FROM images WHERE id = ?", (identity,))
        db.execute("DELETE FROM layers WHERE chain_id NOT IN (SELECT chain_id FROM image_layers)")
