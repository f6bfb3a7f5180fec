"""Measures of what flows: logs, output, and input that comes back as output.

Rule: lines of a hundred characters, the default log driver, and a reader that takes all at once.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from typing import IO

from benchmarks.servers import Server

#: How much flows, in bytes.
SIZE = 100_000_000
_LINE = "0123456789" * 9 + "012345678"
_WRITE = f"yes {_LINE} | head -c {SIZE}"
#: The container whose logs are read; written once for each server.
_WRITER = "benchmark-logs"


def _cli(server: Server, *args: str, stdin: IO[bytes] | None = None) -> float:
    """Return how many bytes a second the output of the docker CLI has."""
    before = time.perf_counter()
    with subprocess.Popen(
        ["docker", *args],
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=server.environment,
    ) as process:
        assert process.stdout is not None
        size, buffer = 0, bytearray(1 << 20)
        while received := process.stdout.readinto(buffer):  # type: ignore[attr-defined]
            size += received
        status = process.wait()
    spent = time.perf_counter() - before
    if status or size != SIZE:
        raise RuntimeError(f"docker {args[0]} ended with {status} after {size} bytes")
    return size / spent


def logs(server: Server) -> float:
    """Measure `docker logs` of a container that has ended, in MB a second."""
    if not server.docker("ps", "-aq", "--filter", f"name={_WRITER}"):
        options = ("--name", _WRITER, "--network", "none")
        server.docker("run", "-d", *options, "busybox", "sh", "-c", _WRITE)
        server.docker("wait", _WRITER)
    return _cli(server, "logs", _WRITER) / 1e6


def output(server: Server) -> float:
    """Measure the attached output of `docker run`, in MB a second."""
    return _cli(server, "run", "--rm", "--network", "none", "busybox", "sh", "-c", _WRITE) / 1e6


def through(server: Server) -> float:
    """Measure what goes into `docker run -i ... cat` and comes back, in MB a second."""
    line = f"{_LINE}\n".encode()
    with tempfile.TemporaryFile() as source:
        source.write(line * (SIZE // len(line)))
        source.seek(0)
        return (
            _cli(server, "run", "-i", "--rm", "--network", "none", "busybox", "cat", stdin=source)
            / 1e6
        )
