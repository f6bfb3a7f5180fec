"""`differences/run`: try what the help pages offer on dockerd and on ours, and list what differs.

Rule: its exit status is 0 only when each difference has a reason, each reason a difference, and
each option a case.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from differences import cases, pages, reasons, report, sides
from differences.compare import Difference, differences, play_both

DOCUMENT = Path(__file__).parent.parent / "docs" / "differences.md"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    if why := sides.missing():
        print(f"differences: {why}", file=sys.stderr)
        return 2
    every = cases.load()
    wanted = pages.everything()
    missing = cases.untried(wanted, every)
    for name in missing:
        print(f"no case tries `docker {name}`")
    for name in cases.unknown(wanted, every):
        print(f"this CLI has no `docker {name}`, which a case tries")
    only = " ".join(options.only)
    chosen = [case for case in every if _is_for(case, only)]
    if not chosen:
        print(f"differences: no case is for {only!r}", file=sys.stderr)
        return 2
    known_reasons = reasons.load()
    if options.again:
        differing = msgspec.json.decode(options.again.read_bytes(), type=list[Difference])
    else:
        differing = _try(chosen)
    if options.keep:
        options.keep.write_bytes(msgspec.json.encode(differing))
    found = reasons.sort(differing, known_reasons)
    if options.verbose:
        for reason, listed in found.known:
            print(f"\n{reason.what}:\n{report.lines(listed)}")
    if found.unknown:
        print(f"\nWithout a reason:\n{report.lines(found.unknown)}")
    unused = [] if only else found.unused
    for reason in unused:
        print(f"nothing differs any more in this: {reason.what}")
    if options.write and not only:
        DOCUMENT.write_text(report.written(DOCUMENT.read_text(), report.table(found)))
    known = sum(len(listed) for _, listed in found.known)
    print(f"{len(chosen)} cases; differences: {known} for {len(found.known)} reasons, ", end="")
    print(f"{len(found.unknown)} without")
    return 1 if found.unknown or missing or unused else 0


def _is_for(case: cases.Case, only: str) -> bool:
    """Tell whether a case is for `only`: a group, a command or an option of it; empty is all."""
    return any(f"{name} ".startswith(f"{only} " if only else "") for name in case.covers)


def _try(chosen: list[cases.Case]) -> list[Difference]:
    found: list[Difference] = []
    directory = Path(tempfile.mkdtemp(prefix="da-"))
    began = time.monotonic()
    try:
        with sides.dockerd(directory) as dockerd, sides.ours(directory) as ours:
            ours.version = dockerd.version = dockerd.newest
            for number, case in enumerate(chosen):
                _progress(
                    f"{number}/{len(chosen)} {time.monotonic() - began:.0f} s {case.covers[0]}"
                )
                found += differences(case, *play_both(case, dockerd, ours))
            _progress("")
    finally:
        sides.remove_cgroups()
        directory.rmdir()
    return found


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text[:78]:78}", end="\r", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="differences/run", description=__doc__)
    parser.add_argument(
        "--only",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="COMMAND",
        help="try this alone, as in --only container run --memory; must be the last option",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"write the table into {DOCUMENT.name}"
    )
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep what differs as JSON")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="look for reasons of what was kept; try nothing"
    )
    parser.add_argument("--verbose", action="store_true", help="show differences with reasons too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
