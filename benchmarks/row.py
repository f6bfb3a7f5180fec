"""What a row of the table is: its numbers, what they are to reach, and how they are measured.

Rule: a target is a ratio to dockerd in the same run, or a bound on the number itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from benchmarks.servers import Server


class Target(msgspec.Struct, frozen=True):
    """What a number is to reach: at most `bound`, or at least where more is better.

    :ivar ratio: whether it is the number divided by dockerd's.
    """

    bound: float
    ratio: bool = True

    def text(self, unit: str, *, more: bool) -> str:
        """Return it as the table says it."""
        sign = ">=" if more else "<="
        return f"{sign} {self.bound:.2f}" if self.ratio else f"{sign} {self.bound:.0f} {unit}"

    def reached(self, value: float, ratio: float | None, *, more: bool) -> bool:
        """Tell whether `value`, and its `ratio` to dockerd's where there is one, reach it."""
        found = ratio if self.ratio else value
        if found is None:
            return False
        return found >= self.bound if more else found <= self.bound


class Number(msgspec.Struct, frozen=True):
    """One line of the table.

    :ivar more: whether more is better.
    """

    name: str
    unit: str
    more: bool = False
    target: Target | None = None


class Row(msgspec.Struct, frozen=True):
    """Numbers that are measured together.

    :ivar once: measured once and not in rounds, as what cannot be repeated or takes long.
    :ivar without: servers that are not asked, by name: what would take minutes on them.
    """

    numbers: Sequence[Number]
    measure: Callable[[Server], Sequence[float]]
    once: bool = False
    without: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """The names of its numbers."""
        return [number.name for number in self.numbers]


def one(
    name: str,
    unit: str,
    measure: Callable[[Server], float],
    *,
    more: bool = False,
    target: Target | None = None,
    once: bool = False,
    without: Sequence[str] = (),
) -> Row:
    """Return a row of one number."""
    return Row(
        (Number(name, unit, more, target),), lambda server: (measure(server),), once, without
    )


class Result(msgspec.Struct, frozen=True):
    """A number's medians by server."""

    number: Number
    values: Mapping[str, float]

    def ratio(self, ours: str, reference: str = "dockerd") -> float | None:
        """Return ours to the reference's value, or None where one is missing."""
        if ours not in self.values or not self.values.get(reference):
            return None
        return self.values[ours] / self.values[reference]

    @property
    def subject(self) -> str:
        """The column of ours: the embedded engine, or the forwarding one."""
        return "through" if "through" in self.values else "dockerapi"
