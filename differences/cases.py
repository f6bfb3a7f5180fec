"""What is tried: cases out of the tables in `tables/*.yaml`.

Rule: a case is data. Its commands are lines for a shell, which are the same on both sides; `docker`
talks to the side's server there, and the working directory is the side's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

#: Where the tables are.
TABLES = Path(__file__).parent / "tables"

#: A container that goes on until it is removed.
_WAITING = "docker run -d --name cc busybox sh -c 'trap exit TERM; sleep 100 & wait'"


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commands to compare.

    :ivar covers: what of the help pages it tries (`container run --memory`), the main one first.
    :ivar before: commands that prepare it, whose output does not count.
    :ivar steps: commands whose output and exit status are compared.
    :ivar inspect: what is compared after the steps: `container NAME` or `volume NAME`.
    :ivar newest: each side speaks its own newest API version, not the older one's.
    """

    covers: tuple[str, ...]
    steps: tuple[str, ...]
    before: tuple[str, ...] = ()
    inspect: tuple[str, ...] = ()
    newest: bool = False


class Option(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An option of the commands that make or change a container, of which cases are made.

    :ivar option: its long name.
    :ivar values: arguments to try, each a case of its own.
    :ivar of: the commands that have it, of `create`, `run` and `update`.
    :ivar shows: a command in the container that shows its effect.
    :ivar image: the image, and whatever stands before the command.
    :ivar before: as in `Case`.
    :ivar newest: as in `Case`.
    """

    option: str
    values: tuple[str, ...]
    of: tuple[str, ...] = ("create", "run")
    shows: str = "true"
    image: str = "busybox"
    before: tuple[str, ...] = ()
    newest: bool = False

    def cases(self) -> Iterator[Case]:
        """Yield its cases, one for each command and value."""
        for command in self.of:
            for value in self.values:
                before, steps = self._commands(command, value)
                yield Case(
                    covers=(f"container {command} {self.option}", f"container {command}"),
                    before=(*self.before, *before),
                    steps=steps,
                    inspect=("container cc",),
                    newest=self.newest,
                )

    def _commands(self, command: str, value: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if command == "update":
            shown = f"docker exec cc sh -c '{self.shows}'"
            return (_WAITING,), (f"docker container update {value} cc", shown)
        line = f"docker container {command} --name cc {value} {self.image} sh -c '{self.shows}'"
        return (), (line,)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of `tables/`."""

    options: tuple[Option, ...] = ()
    cases: tuple[Case, ...] = ()


def load(directory: Path = TABLES) -> list[Case]:
    """Return the cases of all tables; raises msgspec.ValidationError, naming what is wrong."""
    found: list[Case] = []
    for path in sorted(directory.glob("*.yaml")):
        table = msgspec.convert(yaml.safe_load(path.read_text()), Table)
        for option in table.options:
            found += option.cases()
        found += table.cases
    return found


def untried(wanted: list[str], cases: list[Case]) -> list[str]:
    """Return what of `wanted` (see `pages.everything`) no case covers."""
    covered = {name for case in cases for name in case.covers}
    return [name for name in wanted if name not in covered]


def unknown(wanted: list[str], cases: list[Case]) -> list[str]:
    """Return what cases cover though the installed CLI does not know it."""
    covered = {name for case in cases for name in case.covers}
    return sorted(covered - set(wanted))
