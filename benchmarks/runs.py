"""Measures of `docker run` and its kin: single ones, many at once, and what others notice.

Rule: each leaves no container behind; times are the client's, its own start included.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

from benchmarks.conversation import Conversation
from benchmarks.servers import Server

#: How many runs at once.
AT_ONCE = 20
#: How many answers to `/_ping` a percentile needs.
_PINGS = 400


def run(*options: str) -> Callable[[Server], float]:
    """Return a measure of `docker run --rm`, in milliseconds."""

    def measure(server: Server) -> float:
        before = time.perf_counter()
        server.docker("run", "--rm", *options, "busybox", "true")
        return (time.perf_counter() - before) * 1000

    return measure


def published(server: Server) -> float:
    """Measure `docker run --rm -p 80`; raises RuntimeError where no port is published."""
    probe = server.docker("run", "-d", "-p", "80", "busybox", "sleep", "60").decode().strip()
    try:
        if not server.docker("port", probe):
            raise RuntimeError("ports are not published")
    finally:
        server.docker("rm", "-f", probe)
    return run("-p", "80")(server)


def client(server: Server) -> float:
    """Measure `docker version`: what the client costs by itself, in milliseconds."""
    before = time.perf_counter()
    server.docker("version")
    return (time.perf_counter() - before) * 1000


def own_part(server: Server) -> float:
    """Measure the engine's own part of a run, in milliseconds: the median of a few."""
    conversation = Conversation(server.socket)
    try:
        return median(conversation.life() for _ in range(5)) * 1000
    finally:
        conversation.close()


def _start_many(server: Server, *options: str) -> list[subprocess.Popen[bytes]]:
    return [
        subprocess.Popen(
            ["docker", "run", "--rm", *options, "busybox", "true"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=server.environment,
        )
        for _ in range(AT_ONCE)
    ]


def _finish(running: Sequence[subprocess.Popen[bytes]]) -> None:
    failed = [status for process in running if (status := process.wait(120))]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(running)} runs failed: {failed[0]}")


def at_once(*options: str) -> Callable[[Server], float]:
    """Return a measure of many runs at once, in milliseconds until the last has ended."""

    def measure(server: Server) -> float:
        before = time.perf_counter()
        _finish(_start_many(server, *options))
        return (time.perf_counter() - before) * 1000

    return measure


def pings_during_runs(server: Server) -> tuple[float, float]:
    """Measure `/_ping` on new connections during runs: 50th and 99th percentile in ms."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.pinger", server.socket],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as pinger:
        assert pinger.stdin is not None
        assert pinger.stdout is not None
        pinger.stdout.readline()
        begun = time.perf_counter()
        # One ping takes PAUSE and its own time; batches follow each other until there are enough.
        while time.perf_counter() - begun < _PINGS * 0.006:
            _finish(_start_many(server, "--network", "none"))
        pinger.stdin.close()
        times = [float(line) * 1000 for line in pinger.stdout.read().split()]
    percentiles = quantiles(times, n=100)
    return percentiles[49], percentiles[98]
