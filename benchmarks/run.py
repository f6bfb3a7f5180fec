"""Measure dockerd, podman and this server side by side, and print ratios.

    python -m benchmarks.run [--row NAME]... [--rounds N] [--json FILE] [--without-podman]

Each row is the median of several rounds in which the servers take turns, so that what else the
machine does falls on all of them. A ratio is ours to dockerd's; `>` says that more is better.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import attrs

from benchmarks import rows, servers
from benchmarks.rootfs import busybox
from benchmarks.servers import Server


@attrs.frozen
class Result:
    """One row: medians by server, and whether more is better."""

    name: str
    unit: str
    more: bool
    values: dict[str, float]

    def ratio(self, ours: str, reference: str) -> float | None:
        """Return ours to the reference's value, or None where one is missing."""
        if ours not in self.values or not self.values.get(reference):
            return None
        return self.values[ours] / self.values[reference]


def measure(row: rows.Row, subjects: list[Server], rounds: int) -> Result:
    """Return the medians of `row`, with the servers taking turns in each round."""
    samples: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for _ in range(1 if row.once else rounds):
        for subject in subjects:
            try:
                samples[subject.name].append(row.measure(subject))
            except (RuntimeError, OSError, AssertionError) as error:
                print(f"  {row.name} on {subject.name}: {error}", file=sys.stderr)
    values = {name: median(found) for name, found in samples.items() if found}
    return Result(row.name, row.unit, row.more, values)


def table(results: list[Result], columns: list[str]) -> str:
    """Return the results as text."""
    lines = [f"{'row':<34}{'unit':>8}" + "".join(f"{name:>13}" for name in columns) + "   ratio"]
    for result in results:
        ours = "through" if "through" in result.values else "dockerapi"
        ratio = result.ratio(ours, "dockerd")
        cells = "".join(
            f"{result.values[name]:>13.2f}" if name in result.values else f"{'-':>13}"
            for name in columns
        )
        mark = ">" if result.more else "<"
        text = "-" if ratio is None else f"{ratio:.2f} {mark}"
        lines.append(f"{result.name:<34}{result.unit:>8}{cells}   {text}")
    return "\n".join(lines)


def prepare(subjects: list[Server]) -> None:
    """Give every server the image that the rows use."""
    archive = busybox()
    for subject in subjects:
        subject.docker("import", "-", "busybox:latest", stdin=archive)


def main() -> int:
    """Run the benchmark; return 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=__doc__)
    parser.add_argument("--row", action="append", help="only this one, by name; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/latest.json"))
    parser.add_argument("--without-podman", action="store_true")
    options = parser.parse_args()

    def chosen(row: rows.Row) -> bool:
        return not options.row or row.name in options.row

    directory = Path(tempfile.mkdtemp(prefix="dockerapi-bench-"))
    reference, ours = servers.dockerd(directory), servers.ours(directory)
    started: list[Server] = []
    results: list[Result] = []
    try:
        subjects = [reference, ours]
        if not options.without_podman and shutil.which("podman"):
            subjects.append(servers.podman(directory))
        for subject in subjects:
            subject.start()
            started.append(subject)
        prepare(subjects)
        results += [
            measure(row, subjects, options.rounds) for row in rows.ENGINE_ROWS if chosen(row)
        ]
        through = servers.ours(directory, "through", "--engine", f"unix://{reference.socket}")
        through.start()
        started.append(through)
        results += [
            measure(row, [reference, through], options.rounds)
            for row in rows.FORWARDING_ROWS
            if chosen(row)
        ]
    finally:
        for subject in reversed(started):
            subject.stop()
        shutil.rmtree(directory, ignore_errors=True)
    columns = ["dockerd", "dockerapi", "through", "podman"]
    print(table(results, columns))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": platform.uname()._asdict(),
        "python": sys.version,
        "rows": [
            {**attrs.asdict(result), "ratio": result.ratio("dockerapi", "dockerd")}
            for result in results
        ],
    }
    options.json.write_text(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
