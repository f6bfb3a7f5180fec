"""Volumes in the database.

Rule: each function is what one transaction does, in the store's thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import msgspec

from dockerapi.local.volumes.volume import Volume


def load(connection: sqlite3.Connection) -> list[Volume]:
    """Return every volume, by name."""
    rows = connection.execute(
        "SELECT name, created, labels, options, driver FROM volumes ORDER BY name"
    )
    return [
        Volume(name, created, _decoded(labels), _decoded(options), driver)
        for name, created, labels, options, driver in rows
    ]


def load_uses(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the name of each volume with the id of each container that has it."""
    rows = connection.execute(
        "SELECT volume, container FROM container_mounts JOIN containers ON id = container"
        " WHERE volume IS NOT NULL ORDER BY created"
    )
    return rows.fetchall()


def insert(connection: sqlite3.Connection, volume: Volume) -> None:
    """Write a new volume."""
    connection.execute(
        "INSERT INTO volumes (name, driver, created, labels, options) VALUES (?, ?, ?, ?, ?)",
        (
            volume.name,
            volume.driver,
            volume.created,
            _encoded(volume.labels),
            _encoded(volume.options),
        ),
    )


def delete(connection: sqlite3.Connection, name: str) -> None:
    """Forget a volume; raises sqlite3.IntegrityError where a container has it."""
    connection.execute("DELETE FROM volumes WHERE name = ?", (name,))


def _encoded(value: Mapping[str, str] | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _decoded(text: str | None) -> dict[str, str] | None:
    return None if text is None else msgspec.json.decode(text, type=dict[str, str])
