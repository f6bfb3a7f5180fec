"""What is measured: one row each, a function from a running server to a number."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import attrs

from benchmarks import load
from benchmarks.servers import Server


@attrs.frozen
class Row:
    """One row of the table.

    :ivar more: whether more is better.
    :ivar once: measured once and not in rounds, as what cannot be repeated.
    """

    name: str
    unit: str
    measure: Callable[[Server], float]
    more: bool = False
    once: bool = False


def _run(*options: str) -> Callable[[Server], float]:
    def measure(server: Server) -> float:
        start = time.perf_counter()
        server.docker("run", "--rm", *options, "busybox", "true")
        return (time.perf_counter() - start) * 1000

    return measure


def _client(server: Server) -> float:
    start = time.perf_counter()
    server.docker("version")
    return (time.perf_counter() - start) * 1000


def _rate(path: str) -> Callable[[Server], float]:
    return lambda server: load.requests_per_second(server.socket, path)


def _fifty(server: Server) -> list[str]:
    """Make sure that 50 containers run, and return their ids."""
    ids = server.docker("ps", "-q", "--no-trunc").decode().split()
    while len(ids) < 50:
        server.docker("run", "-d", "--network", "none", "busybox", "sleep", "3600")
        ids = server.docker("ps", "-q", "--no-trunc").decode().split()
    return ids


def _list(server: Server) -> float:
    _fifty(server)
    return load.requests_per_second(server.socket, "/containers/json")


def _inspect(server: Server) -> float:
    name = _fifty(server)[25]
    return load.requests_per_second(server.socket, f"/containers/{name}/json")


def _memory(server: Server) -> float:
    _fifty(server)
    return server.memory() / 1e6


def _remove_all(server: Server) -> float:
    ids = server.docker("ps", "-aq").decode().split()
    start = time.perf_counter()
    if ids:
        server.docker("rm", "-f", *ids)
    return (time.perf_counter() - start) * 1000


def _save(server: Server) -> float:
    images = json.loads(server.docker("image", "inspect", "busybox"))
    return load.throughput(server.socket, f"/images/{images[0]['Id']}/get") / 1e6


#: Against dockerd, on the embedded engine.
ENGINE_ROWS = (
    Row("start to first answer", "ms", lambda server: server.first_answer * 1000, once=True),
    Row("memory when idle (PSS)", "MB", lambda server: server.memory() / 1e6, once=True),
    Row("docker version (CLI)", "ms", _client),
    Row("docker run --rm, network none", "ms", _run("--network", "none")),
    Row("docker run --rm, bridge", "ms", _run()),
    Row("_ping, kept connections", "1/s", _rate("/_ping"), more=True),
    Row(
        "_ping, new connections",
        "1/s",
        lambda server: load.new_connections_per_second(server.socket, "/_ping"),
        more=True,
    ),
    Row("/version", "1/s", _rate("/version"), more=True),
    Row("/info", "1/s", _rate("/info"), more=True),
    Row("list, 50 containers", "1/s", _list, more=True),
    Row("inspect, 50 containers", "1/s", _inspect, more=True),
    Row("memory with 50 containers (PSS)", "MB", _memory, once=True),
    Row("rm -f of 50 containers", "ms", _remove_all, once=True),
)

#: Through the forwarding engine, beside a direct connection to the same dockerd.
FORWARDING_ROWS = (
    Row(
        "_ping latency, forwarded", "ms", lambda server: load.latency(server.socket, "/_ping") * 1e3
    ),
    Row(
        "image list latency, forwarded",
        "ms",
        lambda server: load.latency(server.socket, "/images/json") * 1e3,
    ),
    Row("save throughput, forwarded", "MB/s", _save, more=True),
)
