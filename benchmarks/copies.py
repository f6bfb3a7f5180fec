"""Measures of what is copied into and out of containers, exported and committed.

Rule: what was copied is removed again, and nothing waits to be written to the disk when a measure
begins, so that none pays for the one before it.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from benchmarks import load
from benchmarks.conversation import Conversation
from benchmarks.servers import Server

#: The large file, in bytes.
SIZE = 500_000_000
#: How many small files there are, of 1 kB each.
_FILES = 20_000
#: The container that holds the large file, for what goes out; made once for each server.
_HOLDER = "benchmark-copies"


def copy_in(server: Server) -> float:
    """Measure `docker cp` of the large file into a stopped container, in MB a second."""
    return _put(server, _large) / 1e6


def copy_many_in(server: Server) -> float:
    """Measure `docker cp` of the small files into a stopped container, in files a second."""
    return _put(server, _small) / _small().stat().st_size * _FILES


def copy_out(server: Server) -> float:
    """Measure `docker cp` of the large file out of a stopped container, in MB a second."""
    holder = _holder(server)
    os.sync()
    before = time.perf_counter()
    size = _cli_output(server, "cp", f"{holder}:/large", "-")
    return size / (time.perf_counter() - before) / 1e6


def export(server: Server) -> float:
    """Measure the export of the container with the large file, in MB a second."""
    holder = _holder(server)
    os.sync()
    return load.throughput(server.socket, f"/containers/{holder}/export") / 1e6


def commit(server: Server) -> float:
    """Measure the commit of the container with the large file, in MB a second."""
    holder = _holder(server)
    os.sync()
    before = time.perf_counter()
    image = server.docker("commit", holder).decode().strip()
    spent = time.perf_counter() - before
    server.docker("rmi", image)
    return SIZE / spent / 1e6


def _put(server: Server, archive: Callable[[], Path]) -> float:
    """Return how many bytes a second of an archive a new container takes."""
    path = archive()
    name = _created(server)
    try:
        os.sync()
        before = time.perf_counter()
        _copy(server, path, name)
        return path.stat().st_size / (time.perf_counter() - before)
    finally:
        server.docker("rm", "-f", name)


def _created(server: Server) -> str:
    conversation = Conversation(server.socket)
    try:
        return conversation.create(["true"])
    finally:
        conversation.close()


def _holder(server: Server) -> str:
    """Make sure that the container with the large file is there; return its name."""
    if not server.docker("ps", "-aq", "--filter", f"name={_HOLDER}"):
        server.docker("create", "--name", _HOLDER, "--network", "none", "busybox", "true")
        _copy(server, _large(), _HOLDER)
    return _HOLDER


def _copy(server: Server, archive: Path, container: str) -> None:
    with archive.open("rb") as source:
        command = ["docker", "cp", "-", f"{container}:/"]
        subprocess.run(command, stdin=source, env=server.environment, check=True, timeout=300)


def _cli_output(server: Server, *arguments: str) -> int:
    """Return how many bytes the docker CLI writes."""
    with subprocess.Popen(
        ["docker", *arguments], stdout=subprocess.PIPE, env=server.environment
    ) as process:
        assert process.stdout is not None
        size, buffer = 0, bytearray(1 << 20)
        while received := process.stdout.readinto(buffer):  # type: ignore[attr-defined]
            size += received
    if process.returncode:
        raise RuntimeError(f"docker {arguments} ended with {process.returncode}")
    return size


@cache
def _large() -> Path:
    """Return an archive of one large file."""
    return _archive([("large", SIZE)])


@cache
def _small() -> Path:
    """Return an archive of many small files."""
    return _archive([(f"small/{number % 100}/{number}", 1000) for number in range(_FILES)])


#: Keeps the archives until the benchmark ends.
_directory = tempfile.TemporaryDirectory(prefix="dockerapi-copies-")


def _archive(members: list[tuple[str, int]]) -> Path:
    path = Path(_directory.name) / members[0][0].partition("/")[0]
    with tarfile.open(path, "w") as archive, open("/dev/urandom", "rb") as content:
        for name, size in members:
            member = tarfile.TarInfo(name)
            member.size = size
            archive.addfile(member, content)
    return path
