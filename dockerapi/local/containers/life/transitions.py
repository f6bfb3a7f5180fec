"""The table of a container's life: which state follows which, and what is refused in which state.

Source: dockerd's checks, text for text. Rule: pure; whoever changes a state goes through `moved`,
and whoever begins an operation asks `check` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from msgspec import structs

from dockerapi.engine.errors import Conflict, EngineError, NotModified
from dockerapi.local.containers.container import Container, State, Status

_C, _R, _P = Status.CREATED, Status.RUNNING, Status.PAUSED
_RESTARTING, _REMOVING = Status.RESTARTING, Status.REMOVING
_E, _D = Status.EXITED, Status.DEAD

#: Which states follow each state; a start that fails leaves its container where it was.
MOVES: Mapping[Status, frozenset[Status]] = {
    _C: frozenset({_R, _E, _REMOVING}),
    _R: frozenset({_P, _E, _RESTARTING, _REMOVING}),
    _P: frozenset({_R, _E, _RESTARTING, _REMOVING}),
    _RESTARTING: frozenset({_R, _E, _REMOVING}),
    _E: frozenset({_R, _RESTARTING, _REMOVING}),
    _REMOVING: frozenset({_D}),
    _D: frozenset({_REMOVING}),
}


class IllegalMove(AssertionError):
    """A state was to follow another that it cannot follow: a mistake in this program."""


def moved(state: State, status: Status, **changes: Any) -> State:
    """Return `state` after its move to `status`, with `changes`; raise `IllegalMove`."""
    if status is not state.status and status not in MOVES[state.status]:
        raise IllegalMove(f"a container that is {state.status} cannot become {status}")
    return structs.replace(state, status=status, **changes)


class Operation(Enum):
    """What clients do to containers and may do in some states only."""

    START = auto()
    STOP = auto()
    KILL = auto()
    PAUSE = auto()
    UNPAUSE = auto()
    REMOVE = auto()
    FORCED_REMOVE = auto()
    ATTACH = auto()
    EXEC = auto()
    LOGS = auto()
    INSIDE = auto()  # what needs a process: top, resize


class _Refusal(NamedTuple):
    kind: type[EngineError]
    text: str


_NOT_RUNNING = _Refusal(Conflict, "container {id} is not running")
_IS_RESTARTING = _Refusal(
    Conflict, "Container {id} is restarting, wait until the container is running"
)
_MARKED = _Refusal(Conflict, "container is marked for removal and cannot be started")
_STOPPED = _Refusal(NotModified, "container is already stopped")
_NO_VICTIM = _Refusal(Conflict, "cannot kill container: {reference}: container {id} is not running")
_NOT_PAUSED = _Refusal(EngineError, "Container {id} is not paused")
_IN_PROGRESS = _Refusal(Conflict, "removal of container {reference} is already in progress")
_NO_LOGS = _Refusal(Conflict, "can not get logs from container which is dead or marked for removal")
_IN_THE_WAY = (
    'cannot remove container "{name}": container is %s: '
    "stop the container before removing or force remove"
)
_DOWN = (_C, _E, _REMOVING, _D)

_REFUSED: Mapping[Operation, Mapping[Status, _Refusal]] = {
    Operation.START: {
        _P: _Refusal(Conflict, "cannot start a paused container, try unpause instead"),
        _R: _Refusal(NotModified, "container is already running"),
        _RESTARTING: _Refusal(NotModified, "container is already running"),
        _REMOVING: _MARKED,
        _D: _MARKED,
    },
    Operation.STOP: dict.fromkeys(_DOWN, _STOPPED),
    Operation.KILL: dict.fromkeys(_DOWN, _NO_VICTIM),
    Operation.PAUSE: {
        **dict.fromkeys(_DOWN, _NOT_RUNNING),
        _P: _Refusal(Conflict, "container {id} is already paused"),
        _RESTARTING: _IS_RESTARTING,
    },
    Operation.UNPAUSE: dict.fromkeys((*_DOWN, _R, _RESTARTING), _NOT_PAUSED),
    Operation.REMOVE: {
        _R: _Refusal(Conflict, _IN_THE_WAY % "running"),
        _RESTARTING: _Refusal(Conflict, _IN_THE_WAY % "restarting"),
        _P: _Refusal(
            Conflict,
            'cannot remove container "{name}": container is paused and must be unpaused first',
        ),
        _REMOVING: _IN_PROGRESS,
    },
    Operation.FORCED_REMOVE: {_REMOVING: _IN_PROGRESS},
    Operation.ATTACH: {
        _P: _Refusal(
            Conflict, "container {reference} is paused, unpause the container before attach"
        ),
        _RESTARTING: _Refusal(
            Conflict, "container {reference} is restarting, wait until the container is running"
        ),
    },
    Operation.EXEC: {
        **dict.fromkeys(_DOWN, _NOT_RUNNING),
        _P: _Refusal(
            Conflict, "Container {reference} is paused, unpause the container before exec"
        ),
        _RESTARTING: _IS_RESTARTING,
    },
    Operation.LOGS: dict.fromkeys((_REMOVING, _D), _NO_LOGS),
    Operation.INSIDE: {**dict.fromkeys(_DOWN, _NOT_RUNNING), _RESTARTING: _IS_RESTARTING},
}


def check(operation: Operation, container: Container, reference: str = "") -> None:
    """Raise dockerd's error where `operation` is refused in the state that `container` is in.

    `reference` is what the client called it, for texts that repeat that; else its name.
    """
    refuse(operation, container, container.status, reference)


def refuse(operation: Operation, container: Container, status: Status, reference: str = "") -> None:
    """Raise dockerd's error where `operation` is refused in `status`; else as `check`."""
    refusal = _REFUSED[operation].get(status)
    if refusal is not None:
        raise refusal.kind(
            refusal.text.format(
                id=container.id, name=container.name, reference=reference or container.name
            )
        )
