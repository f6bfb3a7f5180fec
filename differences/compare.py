"""The differences between what the two sides did in a case.

Rule: a difference is one place (what a command did, or one member of an inspection) with the two
texts that were there; equal places leave nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import structs

from differences import normalise
from differences.cases import Case
from differences.sides import Result, Side

#: The place of a difference between what a command did.
COMMAND = "command"

#: What stands for a member of an inspection that one side does not have.
ABSENT = "(absent)"

_PATHS = {"container": "/containers/{}/json", "volume": "/volumes/{}"}


class Difference(msgspec.Struct, frozen=True):
    """One place where the sides differ.

    :ivar option: what the case is for, as `container run --memory`.
    :ivar command: the line that was run; for an inspection the case's last one.
    :ivar place: `command`, or the path of a member of an inspection, as `HostConfig.Memory`.
    :ivar dockerd: what dockerd says there: of a command its output, errors and exit status, as far
        as they differ; and `ours` the same.
    """

    option: str
    command: str
    place: str
    dockerd: str
    ours: str


class Outcome(msgspec.Struct, frozen=True):
    """What one side did: each command's result, and each inspection's fields by path."""

    results: tuple[Result, ...]
    inspections: tuple[dict[str, str], ...]


def play(case: Case, side: Side) -> Outcome:
    """Run a case on one side, and remove what it leaves."""
    root = str(side.server.directory)
    try:
        for command in case.before:
            side.run(command, newest=case.newest)
        results = []
        for command in case.steps:
            raw = side.run(command, newest=case.newest)
            output, errors = normalise.text(raw.output, root), normalise.text(raw.errors, root)
            results.append(structs.replace(raw, output=output, errors=errors))
        inspections = []
        for what in case.inspect:
            kind, _, name = what.partition(" ")
            answer: Any = side.ask(_PATHS[kind].format(name))
            inspections.append(dict(normalise.fields(answer, root)))
    finally:
        side.clean()
    return Outcome(tuple(results), tuple(inspections))


def play_both(case: Case, dockerd: Side, ours: Side) -> tuple[Outcome, Outcome]:
    """Run a case on both sides at the same time; raises what either raised."""
    outcomes: dict[str, Outcome] = {}
    errors: list[BaseException] = []

    def run(side: Side) -> None:
        try:
            outcomes[side.name] = play(case, side)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(side,)) for side in (dockerd, ours)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return outcomes[dockerd.name], outcomes[ours.name]


def differences(case: Case, dockerd: Outcome, ours: Outcome) -> Iterator[Difference]:
    """Yield where the two outcomes of a case differ.

    Where a command fails on one side only, that says it all: its object is not compared then.
    """
    option = case.covers[0]
    failed = False
    for theirs, own in zip(dockerd.results, ours.results, strict=True):
        one, other = _unlike(theirs, own)
        failed = failed or (theirs.status == 0) is not (own.status == 0)
        if one != other:
            yield Difference(option, theirs.command, COMMAND, one, other)
    command = case.steps[-1]
    for their, our in zip(dockerd.inspections, ours.inspections, strict=True):
        if their.keys() == {"message"} or our.keys() == {"message"}:
            their, our = ({"message": found.get("message", "(there)")} for found in (their, our))
            if failed:
                continue
        for path in sorted(their.keys() | our.keys()):
            one, other = their.get(path, ABSENT), our.get(path, ABSENT)
            if one != other:
                yield Difference(option, command, path, one, other)


def _unlike(one: Result, other: Result) -> tuple[str, str]:
    """Return of two results what is unlike: outputs, errors, exit statuses."""
    parts: tuple[list[str], list[str]] = ([], [])
    for here, there in (
        (one.output, other.output),
        (one.errors, other.errors),
        (f"exit {one.status}", f"exit {other.status}"),
    ):
        if here != there:
            parts[0].append(here)
            parts[1].append(there)
    here, there = ("\n".join(filter(None, part)) for part in parts)
    return here, there
