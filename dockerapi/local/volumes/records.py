"""Volumes in the database.

Rule: each function is what one transaction does, in the store's thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.volumes.rules import check_name
from dockerapi.local.volumes.volume import Volume

_log = Logger()


def load(connection: sqlite3.Connection) -> list[Volume]:
    """Return every volume, by name; one whose row has none is left out."""
    rows = connection.execute(
        "SELECT name, created, labels, options, driver FROM volumes ORDER BY name"
    )
    return [
        Volume(name, created, _decoded(name, labels), _decoded(name, options), driver)
        for name, created, labels, options, driver in rows
        if _is_name(name)
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


def _is_name(text: str) -> bool:
    """Tell whether a row names a volume; where not, log it."""
    try:
        check_name(text)
    except InvalidParameter:
        _log.error("the row of the volume {name} is damaged: that is no name", name=text)
        return False
    return True


def _decoded(name: str, text: str | None) -> dict[str, str] | None:
    """Return the labels or options of the volume `name`; None for what is damaged."""
    try:
        return None if text is None else msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError as error:
        _log.error("the row of the volume {name} is damaged: {error}", name=name, error=error)
        return None
