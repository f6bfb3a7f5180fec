"""One sample of ContainerStats: cgroups, network, the host's processors, in the API's shape.

Source: `ContainerStatsResponse` of the specification; the order of the members is dockerd's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from dockerapi.local.containers.stats.cgroups import NO_BLOCKS, Usage, host_cpu, read_usage
from dockerapi.model.timestamps import rfc3339

#: Go's zero time.
_NEVER = "0001-01-01T00:00:00Z"
_NO_CPU: Mapping[str, Any] = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_HOST_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
#: The columns of /proc/net/dev that are told, by their names there.
_RECEIVED = {"rx_bytes": 0, "rx_packets": 1, "rx_errors": 2, "rx_dropped": 3}
_SENT = {"tx_bytes": 8, "tx_packets": 9, "tx_errors": 10, "tx_dropped": 11}


def sample(
    identity: str, name: str, pid: int, *, network: bool, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a container uses now; blocks for about half a millisecond.

    `pid` is its first process, 0 where none runs; `network` says whether it has interfaces of its
    own; `before` is the sample before.
    """
    usage = _usage(identity, pid)
    host = host_cpu() if usage is not None else {}
    if usage is None:
        usage = Usage(_NO_CPU, {}, NO_BLOCKS, {})
    cpu = {"cpu_usage": usage.cpu["cpu_usage"], **host}
    cpu["throttling_data"] = usage.cpu["throttling_data"]
    document: dict[str, Any] = {
        "id": identity,
        "name": f"/{name}",
        "os_type": "linux",
        "read": rfc3339(time.time_ns()) if host else _NEVER,
        "cpu_stats": cpu,
        "memory_stats": usage.memory,
    }
    if network and host and (interfaces := _interfaces(pid)):
        document["networks"] = interfaces
    return document | {
        "pids_stats": usage.pids,
        "blkio_stats": usage.blocks,
        "num_procs": 0,
        "storage_stats": {},
        "preread": before["read"] if before is not None else _NEVER,
        "precpu_stats": before["cpu_stats"] if before is not None else _NO_CPU,
    }


def _usage(identity: str, pid: int) -> Usage | None:
    if not pid:
        return None
    try:
        return read_usage(identity, pid, _HOST_MEMORY)
    except (FileNotFoundError, ProcessLookupError):
        # It has ended just now.
        return None


def _interfaces(pid: int) -> dict[str, dict[str, int]]:
    """Return the counters of the interfaces that a process sees, without loopback."""
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            lines = file.readlines()[2:]
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, numbers = line.partition(":")
        words = numbers.split()
        if name.strip() != "lo":
            found[name.strip()] = {
                counter: int(words[column]) for counter, column in (_RECEIVED | _SENT).items()
            }
    return found
