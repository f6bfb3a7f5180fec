"""Differences that are meant, each with its reason, from `reasons.yaml`.

Rule: a reason is matched by patterns of what differs; the first that fits takes a difference, and
one that fits none is told, so that the list does not outlive what it explains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import yaml

from differences.compare import COMMAND, Difference

#: Where the reasons are.
FILE = Path(__file__).parent / "reasons.yaml"


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Patterns of a difference; each must be found where it is given.

    :ivar place: for the whole of `Difference.place`; without it a command's.
    :ivar option: found in `Difference.option`, and `command` in `Difference.command`.
    :ivar dockerd: found in what dockerd says, and `ours` in what ours says.
    :ivar newer: pairs of a pattern and what stands in its place: with them, what dockerd says must
        become what ours says.
    """

    place: str = COMMAND
    option: str = ""
    command: str = ""
    dockerd: str = ""
    ours: str = ""
    newer: tuple[tuple[str, str], ...] = ()

    def fits(self, difference: Difference) -> bool:
        """Tell whether `difference` has all this."""
        return (
            re.fullmatch(self.place, difference.place) is not None
            and re.search(self.option, difference.option) is not None
            and re.search(self.command, difference.command) is not None
            and re.search(self.dockerd, difference.dockerd) is not None
            and re.search(self.ours, difference.ours) is not None
            and (not self.newer or self._renewed(difference.dockerd) == difference.ours)
        )

    def _renewed(self, shown: str) -> str:
        for old, new in self.newer:
            shown = re.sub(old, new, shown)
        return shown


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A difference that is meant: a row of the table.

    :ivar what: what differs, in a user's words.
    :ivar why: the reason.
    :ivar where: the differences that it explains: those that fit one of these.
    :ivar shown: what the table shows for both, where the first found does not say it well.
    """

    what: str
    why: str
    where: tuple[Where, ...]
    shown: tuple[str, str] | None = None

    def fits(self, difference: Difference) -> bool:
        """Tell whether this is the reason of `difference`."""
        return any(where.fits(difference) for where in self.where)


class Sorted(msgspec.Struct, frozen=True):
    """Differences by reason, those without one, and reasons without a difference."""

    known: list[tuple[Reason, list[Difference]]]
    unknown: list[Difference]
    unused: list[Reason]


def load(path: Path = FILE) -> list[Reason]:
    """Return the reasons; raises msgspec.ValidationError, naming what is wrong."""
    return msgspec.convert(yaml.safe_load(path.read_text()), list[Reason])


def sort(found: Iterable[Difference], reasons: list[Reason]) -> Sorted:
    """Give each difference to the first reason that fits it."""
    known: dict[int, list[Difference]] = {}
    unknown = []
    for difference in found:
        for number, reason in enumerate(reasons):
            if reason.fits(difference):
                known.setdefault(number, []).append(difference)
                break
        else:
            unknown.append(difference)
    return Sorted(
        [(reasons[number], known[number]) for number in sorted(known)],
        unknown,
        [reason for number, reason in enumerate(reasons) if number not in known],
    )
