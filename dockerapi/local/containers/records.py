"""Containers in the database.

Rule: each function is what one transaction does, in the store's thread.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from twisted.logger import Logger

from dockerapi.engine.errors import Conflict
from dockerapi.local.containers.container import Container, State, Status
from dockerapi.local.containers.creation.endpoints import stored_endpoints
from dockerapi.local.containers.mounts.parsing import parse_mounts
from dockerapi.local.containers.mounts.point import BIND, TMPFS, VOLUME, MountPoint
from dockerapi.model.containers import ContainerConfig, HostConfig

_log = Logger()
_ID = re.compile(r"[0-9a-f]{64}")
_STATE = (
    "status, pid, start_time, exit_code, error, oom_killed, started, finished, restarts, by_hand"
)


def insert(connection: sqlite3.Connection, container: Container) -> None:
    """Write a new container; raise `Conflict` where its name is taken."""
    try:
        connection.execute(
            "INSERT INTO containers (id, name, owner, generation, created, image, body, config,"
            f" host_config, {_STATE}) VALUES (:id, :name, :owner, 1, :created, :image, :body,"
            " :config, :host_config, :status, :pid, :start_time, :exit_code, :error,"
            " :oom_killed, :started, :finished, :restarts, :by_hand)",
            {
                "id": container.id,
                "name": container.name,
                "owner": container.owner,
                "created": container.created_at,
                "image": container.image,
                "body": container.body,
                "config": msgspec.json.encode(container.config).decode(),
                "host_config": msgspec.json.encode(container.host_config).decode(),
                **_values(container.state),
            },
        )
    except sqlite3.IntegrityError:
        raise Conflict(f'the container name "/{container.name}" is already in use') from None
    _insert_mounts(connection, container)


def replace(connection: sqlite3.Connection, container: Container) -> None:
    """Write the configuration and the mounts that a container has from now on."""
    connection.execute(
        "UPDATE containers SET config = ?, host_config = ?, generation = generation + 1"
        " WHERE id = ?",
        (
            msgspec.json.encode(container.config).decode(),
            msgspec.json.encode(container.host_config).decode(),
            container.id,
        ),
    )
    connection.execute("DELETE FROM container_mounts WHERE container = ?", (container.id,))
    _insert_mounts(connection, container)


def _insert_mounts(connection: sqlite3.Connection, container: Container) -> None:
    connection.executemany(
        "INSERT INTO container_mounts (container, position, volume, mount) VALUES (?, ?, ?, ?)",
        [
            (
                container.id,
                position,
                point.name if point.type == VOLUME else None,
                msgspec.json.encode(point).decode(),
            )
            for position, point in enumerate(container.mounts)
        ],
    )


def update_state(connection: sqlite3.Connection, identity: str, state: State) -> None:
    """Write what changed in a container's life."""
    connection.execute(
        "UPDATE containers SET status = :status, pid = :pid, start_time = :start_time,"
        " exit_code = :exit_code, error = :error, oom_killed = :oom_killed,"
        " started = :started, finished = :finished, restarts = :restarts, by_hand = :by_hand"
        " WHERE id = :id",
        {"id": identity, **_values(state)},
    )


def rename(connection: sqlite3.Connection, identity: str, name: str) -> None:
    """Write a container's new name."""
    connection.execute(
        "UPDATE containers SET name = ?, generation = generation + 1 WHERE id = ?",
        (name, identity),
    )


def configure(connection: sqlite3.Connection, identity: str, host: HostConfig) -> None:
    """Write a container's other host configuration."""
    connection.execute(
        "UPDATE containers SET host_config = ?, generation = generation + 1 WHERE id = ?",
        (msgspec.json.encode(host).decode(), identity),
    )


def delete(connection: sqlite3.Connection, identity: str) -> None:
    """Forget a container."""
    connection.execute("DELETE FROM containers WHERE id = ?", (identity,))


def load(connection: sqlite3.Connection) -> list[Container]:
    """Return every container, oldest first; one whose row is damaged is dead, and says why."""
    rows = connection.execute(
        "SELECT id, name, owner, created, image, body, config, host_config,"
        f" {_STATE} FROM containers ORDER BY created"
    )
    mounts: dict[str, list[str]] = {}
    for identity, mount in connection.execute(
        "SELECT container, mount FROM container_mounts ORDER BY position"
    ):
        mounts.setdefault(identity, []).append(mount)
    return [found for row in rows if (found := _read(row, mounts.get(row[0], ()))) is not None]


def _read(row: tuple[Any, ...], mounts: Iterable[str]) -> Container | None:
    try:
        return _container(row, mounts)
    except Exception as error:
        # Whatever is wrong with one row must not keep the others from being read.
        _log.error("the row of the container {id} is damaged: {error}", id=row[0], error=error)
        return _dead(row, f"its record in the database is damaged: {error}")


def _dead(row: tuple[Any, ...], reason: str) -> Container | None:
    """Return what can be told of a damaged row; None where it has not even an id."""
    identity, name, owner, created, image, body, *_ = row
    if not _ID.fullmatch(identity):
        return None
    return Container(
        id=identity,
        name=name,
        owner=owner,
        created_at=created,
        image=image,
        body=body,
        config=ContainerConfig(cmd=[""], image=image),
        host_config=HostConfig(network_mode="none"),
        state=State(Status.DEAD, error=reason),
    )


def _container(row: tuple[Any, ...], mounts: Iterable[str]) -> Container:
    identity, name, owner, created, image, body, config, host_config, *state = row
    if not _ID.fullmatch(identity):
        raise ValueError(f"not an id: {identity!r}")
    merged = msgspec.json.decode(config, type=ContainerConfig)
    host = msgspec.json.decode(host_config, type=HostConfig)
    status, pid, start_time, code, error, oom_killed, started, finished, restarts, by_hand = state
    return Container(
        id=identity,
        name=name,
        owner=owner,
        created_at=created,
        image=image,
        body=body,
        config=merged,
        host_config=host,
        endpoints=stored_endpoints(body),
        mounts=tuple(msgspec.json.decode(mount, type=MountPoint) for mount in mounts)
        or _binds_and_tmpfs(host),
        state=State(
            Status(status),
            pid,
            start_time,
            code,
            error,
            bool(oom_killed),
            started,
            finished,
            restarts,
            bool(by_hand),
        ),
    )


def _binds_and_tmpfs(host: HostConfig) -> tuple[MountPoint, ...]:
    """Return the mounts of a container that is older than their table, and has no volumes."""
    points = [request.point for request in parse_mounts(host)]
    return tuple(
        sorted((one for one in points if one.type in (BIND, TMPFS)), key=lambda one: one.depth)
    )


def _values(state: State) -> Mapping[str, Any]:
    return {
        "status": state.status.value,
        "pid": state.pid,
        "start_time": state.start_time,
        "exit_code": state.exit_code,
        "error": state.error,
        "oom_killed": int(state.oom_killed),
        "started": state.started_at,
        "finished": state.finished_at,
        "restarts": state.restarts,
        "by_hand": int(state.by_hand),
    }
