"""Measures of what programs do through docker-py, and of exec by the CLI.

Rule: only the calls are timed, not what makes them possible.
"""

from __future__ import annotations

import time
from contextlib import closing
from statistics import median

import docker
from docker import DockerClient

from benchmarks.servers import Server

#: Ends at SIGTERM at once, once it has said that it is ready; a first process without a handler
#: would be killed after ten seconds.
_ENDS_AT_ONCE = ["sh", "-c", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait"]


def _client(server: Server) -> closing[DockerClient]:
    return closing(docker.DockerClient(base_url=f"unix://{server.socket}", timeout=120))


def life(server: Server) -> float:
    """Measure create, start, stop and remove of a container, in milliseconds."""
    with _client(server) as client:
        before = time.perf_counter()
        container = client.containers.create("busybox", _ENDS_AT_ONCE, network_mode="none")
        container.start()
        spent = time.perf_counter() - before
        end = time.monotonic() + 10
        while b"ready" not in container.logs():
            if time.monotonic() > end:
                raise RuntimeError("the container does not say that it is ready")
            time.sleep(0.01)
        before = time.perf_counter()
        container.stop()
        container.remove()
        return (spent + time.perf_counter() - before) * 1000


def execute(server: Server) -> float:
    """Measure docker-py's `exec_run` of `true`, in milliseconds: the median of a few."""
    with _client(server) as client:
        container = client.containers.run(
            "busybox", ["sleep", "1000"], network_mode="none", detach=True
        )
        try:
            times = []
            for _ in range(5):
                before = time.perf_counter()
                done = container.exec_run(["true"])
                times.append((time.perf_counter() - before) * 1000)
                if done.exit_code != 0:
                    raise RuntimeError(f"exec ended with {done.exit_code}")
            return median(times)
        finally:
            container.remove(force=True)


def execute_by_cli(server: Server) -> float:
    """Measure `docker exec NAME true`, in milliseconds: the median of a few."""
    name = server.docker("run", "-d", "--network", "none", "busybox", "sleep", "1000")
    identity = name.decode().strip()
    try:
        times = []
        for _ in range(5):
            before = time.perf_counter()
            server.docker("exec", identity, "true")
            times.append((time.perf_counter() - before) * 1000)
        return median(times)
    finally:
        server.docker("rm", "-f", identity)
