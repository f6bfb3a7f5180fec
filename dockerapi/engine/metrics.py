"""Counters and times of jobs, for `/debug/vars`.

Rule: one value for each name, however many run.
"""

from __future__ import annotations

import attrs


@attrs.define
class JobCounters:
    """What is known of the runs of one job name; times in seconds."""

    started: int = 0
    failed: int = 0
    running: int = 0
    total_time: float = 0.0
    longest_time: float = 0.0


class JobMetrics:
    """Counters by job name."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobCounters] = {}

    @property
    def started(self) -> int:
        """How many jobs began so far."""
        return sum(counters.started for counters in self.jobs.values())

    def start(self, name: str) -> JobCounters:
        """Count a run that begins and return its counters."""
        counters = self.jobs.get(name)
        if counters is None:
            counters = self.jobs[name] = JobCounters()
        counters.started += 1
        counters.running += 1
        return counters

    @staticmethod
    def end(counters: JobCounters, seconds: float, *, failed: bool) -> None:
        """Count the end of a run."""
        counters.running -= 1
        counters.failed += failed
        counters.total_time += seconds
        if seconds > counters.longest_time:
            counters.longest_time = seconds
