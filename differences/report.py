"""The differences as people read them: a table for docs/differences.md, lines for a terminal.

Rule: of the document only what stands between the two marks is written.
"""

from __future__ import annotations

from collections.abc import Iterable

from differences.compare import Difference
from differences.reasons import Reason, Sorted

BEGIN = "<!-- What differences/run found begins. It writes this part: do not edit it. -->"
END = "<!-- What differences/run found ends. -->"

#: Longer texts are cut in the table.
_WIDTH = 100


def table(found: Sorted) -> str:
    """Return the table of the differences that have a reason, and say which have none."""
    rows = ["| what | dockerd | ours | why |", "| --- | --- | --- | --- |"]
    rows += [_row(reason, differences[0]) for reason, differences in found.known]
    if found.unknown:
        options = dict.fromkeys(f"`{difference.option}`" for difference in found.unknown)
        rows += ["", f"Not as it should be yet: something of {', '.join(options)}."]
    return "\n".join(rows)


def written(document: str, content: str) -> str:
    """Return `document` with `content` between the marks; raises ValueError without marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def lines(differences: Iterable[Difference]) -> str:
    """Return the differences with all that helps to understand them, equal ones once."""
    groups: dict[tuple[str, str, str], list[Difference]] = {}
    for found in differences:
        groups.setdefault((found.place, found.dockerd, found.ours), []).append(found)
    return "\n".join(
        f"{alike[0].option}: {place}{f' ({len(alike)} times)' if len(alike) > 1 else ''}\n"
        f"    $ {alike[0].command}\n"
        f"    dockerd: {_indented(dockerd)}\n"
        f"    ours:    {_indented(ours)}"
        for (place, dockerd, ours), alike in groups.items()
    )


def _row(reason: Reason, first: Difference) -> str:
    dockerd, ours = reason.shown or (_code(first.dockerd), _code(first.ours))
    return f"| {reason.what} | {dockerd} | {ours} | {' '.join(reason.why.split())} |"


def _code(shown: str) -> str:
    """Return a text for a cell: one line, short, and nothing that ends a cell."""
    line = " ".join(shown.split()).replace("|", "\\|").replace("`", "'")
    if not line:
        return "(nothing)"
    return f"`{line}`" if len(line) <= _WIDTH else f"`{line[:_WIDTH]}...`"


def _indented(shown: str) -> str:
    return shown.replace("\n", "\n             ")
