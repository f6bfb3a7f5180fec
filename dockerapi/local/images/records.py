"""Rows of images in the store.

Rule: each function is the whole of one transaction, run by `Store.write` or `Store.read`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from msgspec import structs

from dockerapi.local.images.image import Image, Layer, decode_config
from dockerapi.model.references import Reference


def load(db: sqlite3.Connection) -> list[Image]:
    """Return every image."""
    layers: dict[str, list[Layer]] = {}
    for image, chain_id, diff_id, size in db.execute(
        "SELECT image, chain_id, diff_id, layers.size FROM image_layers"
        " JOIN layers USING (chain_id) ORDER BY image, position"
    ):
        layers.setdefault(image, []).append(Layer(chain_id, diff_id, size))
    blobs: dict[str, dict[str, str]] = {}
    for image, digest, kind in db.execute("SELECT image, digest, media_type FROM image_blobs"):
        blobs.setdefault(image, {})[digest] = kind
    names: dict[str, list[Reference]] = {}
    for name, image in db.execute("SELECT name, image FROM image_references ORDER BY name"):
        names.setdefault(image, []).append(Reference.parse(name))
    return [
        Image(
            id=identity,
            config=decode_config(raw)[0],
            raw=raw,
            layers=tuple(layers.get(identity, ())),
            blobs=blobs.get(identity, {}),
            references=tuple(sorted(names.get(identity, ()))),
            arrived=arrived,
            tagged=tagged,
            parent=parent,
        )
        for identity, raw, arrived, tagged, parent in db.execute(
            "SELECT id, config, arrived, tagged, parent FROM images"
        )
    ]


def add(db: sqlite3.Connection, image: Image, names: Iterable[Reference], now: int) -> None:
    """Record an image with its layers and blobs, and give it `names`.

    An image that is there already gets the blobs that are new.
    """
    db.execute(
        "INSERT INTO images (id, config, size, arrived, tagged, parent) VALUES (?, ?, ?, ?, 0, ?)"
        " ON CONFLICT DO NOTHING",
        (image.id, image.raw, image.size, image.arrived, image.parent),
    )
    for position, layer in enumerate(image.layers):
        db.execute(
            "INSERT INTO layers (chain_id, diff_id, size) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            structs.astuple(layer),
        )
        db.execute(
            "INSERT INTO image_layers (image, position, chain_id) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING",
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
