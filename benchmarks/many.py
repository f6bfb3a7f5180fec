"""Measures with many containers: lists, inspections, memory, removal.

Rule: what a row needs it makes, where it is not there yet, and later rows find it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks import load
from benchmarks.conversation import Conversation
from benchmarks.servers import Server

_FEW = 50
_SOME = 200
_MANY = 1000


def _fifty(server: Server, *options: str) -> list[str]:
    """Make sure that 50 containers run, and return their ids."""
    wanted = _FEW - len(server.containers(running=True))

    def run(_: int) -> None:
        server.docker("run", "-d", *options, "busybox", "sleep", "3600")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(wanted)))
    return server.containers(running=True)


def _created(server: Server, wanted: int) -> list[str]:
    """Make sure that there are so many containers, of which some may run; return their ids."""
    ids = server.containers()
    conversation = Conversation(server.socket)
    try:
        ids += [conversation.create(["true"]) for _ in range(wanted - len(ids))]
    finally:
        conversation.close()
    return ids


def list_few(server: Server) -> float:
    _fifty(server, "--network", "none")
    return load.requests_per_second(server.socket, "/containers/json")


def inspect_few(server: Server) -> float:
    name = _fifty(server, "--network", "none")[25]
    return load.requests_per_second(server.socket, f"/containers/{name}/json")


def stats_few(server: Server) -> float:
    name = _fifty(server, "--network", "none")[25]
    path = f"/v1.41/containers/{name}/stats?stream=false&one-shot=true"
    return load.requests_per_second(server.socket, path)


def top_few(server: Server) -> float:
    name = _fifty(server, "--network", "none")[25]
    return load.requests_per_second(server.socket, f"/containers/{name}/top")


def usage_few(server: Server) -> float:
    """Measure the answer to `docker system df` with 50 that run and 150 that do not, in ms."""
    _fifty(server, "--network", "none")
    _created(server, _SOME)
    return load.latency(server.socket, "/system/df", count=5) * 1000


def usage_stopped(server: Server) -> float:
    """Measure the answer to `docker system df` with 200 that do not run, in ms."""
    if running := server.containers(running=True):
        server.docker("rm", "-f", *running)
    _created(server, _SOME)
    return load.latency(server.socket, "/system/df", count=5) * 1000


def list_many(server: Server) -> float:
    _created(server, _MANY)
    return load.requests_per_second(server.socket, "/containers/json?all=1", connections=2)


def inspect_many(server: Server) -> float:
    name = _created(server, _MANY)[500]
    return load.requests_per_second(server.socket, f"/containers/{name}/json")


def memory(server: Server) -> float:
    """Measure the memory in MB with 50 containers without network."""
    _fifty(server, "--network", "none")
    return server.memory() / 1e6


def memory_published(server: Server) -> float:
    """Measure the memory in MB with 50 containers that publish a port each."""
    server.remove_containers()
    name = _fifty(server, "-p", "80")[0]
    if not server.docker("port", name):
        raise RuntimeError("ports are not published")
    return server.memory() / 1e6


def remove_all(server: Server) -> float:
    """Measure the removal of all containers by one command, in milliseconds."""
    ids = server.containers()
    before = time.perf_counter()
    if ids:
        server.docker("rm", "-f", *ids)
    return (time.perf_counter() - before) * 1000
