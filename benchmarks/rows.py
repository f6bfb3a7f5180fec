"""The table's rows, in their order, with the targets of the project.

Rule: what leaves many containers stands last, and a row that removes them follows.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from benchmarks import clients, copies, load, many, runs, streams
from benchmarks.row import Number, Row, Target, one
from benchmarks.servers import Server


def _rate(path: str) -> Callable[[Server], float]:
    return lambda server: load.requests_per_second(server.socket, path)


def _save(server: Server) -> float:
    images = json.loads(server.docker("image", "inspect", "busybox"))
    return load.throughput(server.socket, f"/images/{images[0]['Id']}/get") / 1e6


def _new_connections(server: Server) -> float:
    return load.new_connections_per_second(server.socket, "/_ping")


def _latency(path: str) -> Callable[[Server], float]:
    return lambda server: load.latency(server.socket, path) * 1000


_RUNS = (
    one("docker version (CLI)", "ms", runs.client),
    one(
        "docker run --rm, network none",
        "ms",
        runs.run("--network", "none"),
        target=Target(0.2),
    ),
    one("docker run --rm, bridge", "ms", runs.run(), target=Target(0.2)),
    one("docker run --rm, published port", "ms", runs.published, target=Target(0.17)),
    one("engine's own part of a run", "ms", runs.own_part, target=Target(25, ratio=False)),
    one(
        "20 runs at once, network none",
        "ms",
        runs.at_once("--network", "none"),
        target=Target(0.2),
    ),
    one("20 runs at once, bridge", "ms", runs.at_once(), target=Target(0.2)),
    Row(
        (
            Number("_ping during 20 runs, median", "ms"),
            Number("_ping during 20 runs, 99th", "ms", target=Target(10, ratio=False)),
        ),
        runs.pings_during_runs,
    ),
    one("create start stop rm, docker-py", "ms", clients.life, target=Target(1 / 6)),
    one("exec, docker-py", "ms", clients.execute, target=Target(0.25)),
    one("exec, CLI", "ms", clients.execute_by_cli, target=Target(0.25)),
)

_STREAMS = (
    one("logs of 100 MB, CLI", "MB/s", streams.logs, more=True, target=Target(1)),
    one("attach, output only, CLI", "MB/s", streams.output, more=True, target=Target(1)),
    one("attach, in and out, CLI", "MB/s", streams.through, more=True, target=Target(1)),
)

_COPIES = (
    one("cp of 500 MB in, CLI", "MB/s", copies.copy_in, more=True, target=Target(1)),
    one("cp of 20,000 files in, CLI", "1/s", copies.copy_many_in, more=True, target=Target(1)),
    one("cp of 500 MB out, CLI", "MB/s", copies.copy_out, more=True, target=Target(1)),
    one("export of 500 MB", "MB/s", copies.export, more=True, target=Target(1)),
    one("commit of 500 MB, CLI", "MB/s", copies.commit, more=True, target=Target(1)),
)

_REQUESTS = (
    one("_ping, kept connections", "1/s", _rate("/_ping"), more=True),
    one("_ping, new connections", "1/s", _new_connections, more=True),
    one("/version", "1/s", _rate("/version"), more=True),
    one("/info", "1/s", _rate("/info"), more=True),
)

_MANY = (
    one("list, 50 containers", "1/s", many.list_few, more=True),
    one("inspect, 50 containers", "1/s", many.inspect_few, more=True),
    one("stats, 50 containers", "1/s", many.stats_few, more=True, target=Target(2)),
    one("top, 50 containers", "1/s", many.top_few, more=True, target=Target(2)),
    one(
        "memory with 50 containers (PSS)",
        "MB",
        many.memory,
        target=Target(0.25),
        once=True,
    ),
    one("rm -f of 50 containers", "ms", many.remove_all, once=True),
    one(
        "memory with 50 published (PSS)",
        "MB",
        many.memory_published,
        target=Target(0.25),
        once=True,
        without=("podman",),
    ),
    one("rm -f of 50 published", "ms", many.remove_all, once=True, without=("podman",)),
    one("df, 200 stopped", "ms", many.usage_stopped, target=Target(0.2)),
    one("df, 50 of 200 run", "ms", many.usage_few, target=Target(0.2)),
    one("rm -f of 200, 50 run", "ms", many.remove_all, once=True),
    one("list, 1,000 stopped", "1/s", many.list_many, more=True, without=("podman",)),
    one("inspect, 1,000 stopped", "1/s", many.inspect_many, more=True, without=("podman",)),
    one("rm -f of 1,000 stopped", "ms", many.remove_all, once=True, without=("podman",)),
)

#: Against dockerd, on the embedded engine.
ENGINE_ROWS = (
    one("start to first answer", "ms", lambda server: server.first_answer * 1000, once=True),
    one("memory when idle (PSS)", "MB", lambda server: server.memory() / 1e6, once=True),
    *_RUNS,
    *_STREAMS,
    *_COPIES,
    *_REQUESTS,
    *_MANY,
)

#: Through the forwarding engine, beside a direct connection to the same dockerd.
FORWARDING_ROWS = (
    one("_ping latency, forwarded", "ms", _latency("/_ping")),
    one("image list latency, forwarded", "ms", _latency("/images/json")),
    one("save throughput, forwarded", "MB/s", _save, more=True),
)
