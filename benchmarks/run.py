"""Measure dockerd, podman and this server side by side, and print ratios.

    benchmarks/run [--row NAME]... [--rounds N] [--json FILE] [--without-podman] [--list]

Each row is the median of several rounds in which the servers take turns, so that what else the
machine does falls on all of them. A ratio is ours to dockerd's; `>` says that more is better. Rule:
whatever was started is ended and removed, also after Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import rows, servers
from benchmarks.rootfs import busybox
from benchmarks.row import Result, Row
from benchmarks.servers import Server

_COLUMNS = ("dockerd", "dockerapi", "through", "podman")
_ERRORS = (RuntimeError, OSError, AssertionError, subprocess.SubprocessError)


def measure(row: Row, subjects: Sequence[Server], rounds: int) -> list[Result]:
    """Return the medians of `row`'s numbers, with the servers taking turns in each round."""
    samples: dict[str, list[Sequence[float]]] = {}
    for _ in range(1 if row.once else rounds):
        for subject in subjects:
            if subject.name in row.without:
                continue
            try:
                samples.setdefault(subject.name, []).append(row.measure(subject))
            except _ERRORS as error:
                print(f"  {row.names[0]} on {subject.name}: {error}", file=sys.stderr)
    return [
        Result(
            number,
            {
                name: median(sample[at] for sample in found)
                for name, found in samples.items()
                if found
            },
        )
        for at, number in enumerate(row.numbers)
    ]


def heading() -> str:
    """Return the table's first line."""
    names = "".join(f"{name:>12}" for name in _COLUMNS)
    return f"{'row':<34}{'unit':>6}{names}   {'ratio':<9}target"


def line(result: Result) -> str:
    """Return one line of the table."""
    number, subject = result.number, result.subject
    ratio = result.ratio(subject)
    cells = "".join(
        f"{result.values[name]:>12.2f}" if name in result.values else f"{'-':>12}"
        for name in _COLUMNS
    )
    mark = ">" if number.more else "<"
    text = "-" if ratio is None else f"{ratio:.2f} {mark}"
    target = ""
    if number.target is not None:
        target = number.target.text(number.unit, more=number.more)
        if subject in result.values:
            value = result.values[subject]
            reached = number.target.reached(value, ratio, more=number.more)
            target += "  reached" if reached else "  missed"
    return f"{number.name:<34}{number.unit:>6}{cells}   {text:<9}{target}".rstrip()


def measure_all(
    options: argparse.Namespace, started: list[Server], directory: Path
) -> list[Result]:
    """Start the servers (noted in `started`), measure the rows that were chosen, and print them."""

    def chosen(candidates: Sequence[Row]) -> list[Row]:
        return [row for row in candidates if not options.row or set(options.row) & set(row.names)]

    reference, ours = servers.dockerd(directory), servers.ours(directory)
    subjects = [reference, ours]
    if not options.without_podman and shutil.which("podman"):
        subjects.append(servers.podman(directory))
    archive = busybox()
    for subject in subjects:
        started.append(subject)
        subject.start()
        subject.docker("import", "-", "busybox:latest", stdin=archive)
        # What is done once, at the first container, belongs to no row; a row tells what fails.
        with suppress(*_ERRORS):
            subject.docker("run", "--rm", "busybox", "true")
    results: list[Result] = []

    def take(row: Row, among: Sequence[Server]) -> None:
        for result in measure(row, among, options.rounds):
            results.append(result)
            print(line(result), flush=True)

    print(heading())
    for row in chosen(rows.ENGINE_ROWS):
        take(row, subjects)
    if forwarding := chosen(rows.FORWARDING_ROWS):
        through = servers.ours(directory, "through", "--engine", f"unix://{reference.socket}")
        started.append(through)
        through.start()
        for row in forwarding:
            take(row, [reference, through])
    return results


def save(results: Sequence[Result], path: Path) -> None:
    """Write the results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": platform.uname()._asdict(),
        "python": sys.version,
        "rows": [
            {
                **msgspec.to_builtins(result.number),
                "values": dict(result.values),
                "ratio": result.ratio(result.subject),
            }
            for result in results
        ],
    }
    path.write_text(json.dumps(document, indent=1))


def main() -> int:
    """Run the benchmark; return 0, or 130 where it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--row", action="append", help="only this one, by name; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/latest.json"))
    parser.add_argument("--without-podman", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the names of the rows and end")
    options = parser.parse_args()
    names = [name for row in (*rows.ENGINE_ROWS, *rows.FORWARDING_ROWS) for name in row.names]
    if options.list:
        print(*names, sep="\n")
        return 0
    if unknown := set(options.row or ()) - set(names):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; --list names them")

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="dockerapi-bench-"))
    started: list[Server] = []
    try:
        save(measure_all(options, started, directory), options.json)
    except KeyboardInterrupt:
        print("interrupted: ending the servers", file=sys.stderr)
        return 130
    finally:
        # A second Ctrl-C would leave mounts and processes behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for subject in reversed(started):
            subject.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
