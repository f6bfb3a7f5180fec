"""The cgroups of a process, and their files read into numbers.

Source: cgroups(7), the kernel's cgroup-v1 and cgroup-v2 documents. Rule: what is not there is left
out, never guessed; everything here blocks for the read of small files in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

_ROOT = Path("/sys/fs/cgroup")
_USER_HZ = os.sysconf("SC_CLK_TCK")
_MICROSECOND = 1000
#: The files of version 1 that dockerd tells of, by the name under which it does.
_BLOCK_FILES = {
    "io_service_bytes_recursive": "blkio.throttle.io_service_bytes_recursive",
    "io_serviced_recursive": "blkio.throttle.io_serviced_recursive",
}
#: And those that only a scheduler that is gone from Linux had.
_BLOCK_NAMES = (
    *_BLOCK_FILES,
    *("io_queue_recursive", "io_service_time_recursive", "io_wait_time_recursive"),
    *("io_merged_recursive", "io_time_recursive", "sectors_recursive"),
)
#: What of memory.stat is told: newer kernels have more. In version 1 each has a ``total_`` too.
_OF_MEMORY_ONE = (
    *("cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout"),
    *("pgfault", "pgmajfault", "inactive_anon", "active_anon", "inactive_file", "active_file"),
    "unevictable",
)
_MEMORY_ONE = frozenset(
    (
        *("hierarchical_memory_limit", "hierarchical_memsw_limit"),
        *_OF_MEMORY_ONE,
        *(f"total_{name}" for name in _OF_MEMORY_ONE),
    )
)
#: In version 2 all of these are told; 0 stands for what a kernel does not count (any more).
_MEMORY_TWO = (
    *("active_anon", "active_file", "anon", "anon_thp", "file", "file_dirty", "file_mapped"),
    *("file_writeback", "inactive_anon", "inactive_file", "kernel_stack", "pgactivate"),
    *("pgdeactivate", "pgfault", "pglazyfree", "pglazyfreed", "pgmajfault", "pgrefill", "pgscan"),
    *("pgsteal", "shmem", "slab", "slab_reclaimable", "slab_unreclaimable", "sock"),
    *("thp_collapse_alloc", "thp_fault_alloc", "unevictable", "workingset_activate"),
    *("workingset_nodereclaim", "workingset_refault"),
)
#: What version 2 says where there is no limit.
_UNLIMITED = 2**64 - 1
NO_BLOCKS: Mapping[str, Any] = dict.fromkeys(_BLOCK_NAMES)


class Usage(msgspec.Struct, frozen=True):
    """What a container uses, in the specification's shapes (`ContainerStatsResponse`).

    :ivar cpu: `ContainerCPUStats` without what concerns the whole host.
    """

    cpu: Mapping[str, Any]
    memory: Mapping[str, Any]
    blocks: Mapping[str, Any]
    pids: Mapping[str, Any]


def read_usage(identity: str, pid: int, host_memory: int) -> Usage:
    """Return what the cgroups of the container `identity` use; `host_memory` is in bytes.

    `pid` is its first process. Raises ProcessLookupError (or FileNotFoundError) where it is gone.
    """
    paths = cgroups_of(identity, pid)
    if "" in paths and "memory" not in paths:
        return _read_unified(_ROOT / paths[""].lstrip("/"), host_memory)

    def path(controller: str) -> Path:
        return _ROOT / controller / paths.get(controller, "/").lstrip("/")

    return Usage(
        _cpu_one(path("cpuacct"), path("cpu")),
        _memory_one(path("memory"), host_memory),
        _blocks_one(path("blkio")),
        _pids(path("pids")),
    )


def cgroups_of(identity: str, pid: int) -> dict[str, str]:
    """Return the cgroups of a container by controller; version 2 is the empty name.

    Its first process `pid` may have gone to one beneath, as an init system does.
    """
    with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return {name: _own(path, identity) for _, names, path in lines for name in names.split(",")}


def _own(path: str, identity: str) -> str:
    above, found, _ = f"{path}/".partition(f"/{identity}/")
    return f"{above}/{identity}" if found else path


def lift_pids_limit(identity: str, pid: int) -> None:
    """Let the cgroup of a container, whose first process is `pid`, have any number of processes.

    Raises OSError.
    """
    _lift(identity, pid, "pids", {"pids": ("pids.max", "max"), "": ("pids.max", "max")})


def lift_cpu_quota(identity: str, pid: int) -> None:
    """Let a container, whose first process is `pid`, use all of the processors' time.

    Raises OSError.
    """
    _lift(identity, pid, "cpu", {"cpu": ("cpu.cfs_quota_us", "-1"), "": ("cpu.max", "max")})


def _lift(identity: str, pid: int, name: str, files: Mapping[str, tuple[str, str]]) -> None:
    """Write what means no limit to the file of a controller, version 1's or (empty) 2's."""
    paths = cgroups_of(identity, pid)
    controller = name if name in paths else ""
    file, text = files[controller]
    (_ROOT / controller / paths.get(controller, "/").lstrip("/") / file).write_text(text)


def host_cpu() -> dict[str, int]:
    """Return the host's processor time, in nanoseconds, and its processors."""
    with open("/proc/stat", encoding="ascii") as file:
        words = file.readline().split()
        online = 0
        for line in file:
            if not line.startswith("cpu"):
                break
            online += 1
    # user, nice, system, idle, iowait, irq, softirq, as dockerd adds them up.
    ticks = sum(map(int, words[1:8]))
    return {"system_cpu_usage": ticks * (10**9 // _USER_HZ), "online_cpus": online}


def _cpu_one(accounting: Path, cpu: Path) -> dict[str, Any]:
    split = _pairs(accounting / "cpuacct.stat")
    tick = 10**9 // _USER_HZ
    throttling = _pairs(cpu / "cpu.stat")
    return {
        "cpu_usage": {
            "total_usage": _number(accounting / "cpuacct.usage") or 0,
            "percpu_usage": [
                int(word) for word in _text(accounting / "cpuacct.usage_percpu").split()
            ],
            "usage_in_kernelmode": split.get("system", 0) * tick,
            "usage_in_usermode": split.get("user", 0) * tick,
        },
        "throttling_data": {
            "periods": throttling.get("nr_periods", 0),
            "throttled_periods": throttling.get("nr_throttled", 0),
            "throttled_time": throttling.get("throttled_time", 0),
        },
    }


def _memory_one(memory: Path, host_memory: int) -> dict[str, Any]:
    usage = _number(memory / "memory.usage_in_bytes")
    if usage is None:
        return {}
    limit = _number(memory / "memory.limit_in_bytes") or host_memory
    failures = _number(memory / "memory.failcnt")
    return {
        "usage": usage,
        "max_usage": _number(memory / "memory.max_usage_in_bytes") or 0,
        "stats": _told(memory / "memory.stat", _MEMORY_ONE),
        **({"failcnt": failures} if failures else {}),
        "limit": min(limit, host_memory),
    }


def _blocks_one(blocks: Path) -> dict[str, Any]:
    found: dict[str, Any] = {name: [] for name in _BLOCK_NAMES}
    for name, file in _BLOCK_FILES.items():
        found[name] = list(_block_entries(_text(blocks / file)))
    return found


def _block_entries(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        words = line.split()
        # The last line is a sum over all devices.
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            yield {"major": int(major), "minor": int(minor), "op": words[1], "value": int(words[2])}


def _pids(path: Path) -> dict[str, Any]:
    current, limit = _number(path / "pids.current"), _number(path / "pids.max")
    return {
        **({"current": current} if current is not None else {}),
        **({"limit": limit} if limit is not None else {}),
    }


def _pids_two(path: Path) -> dict[str, Any]:
    found = _pids(path)
    return {**found, "limit": found.get("limit", _UNLIMITED)} if found else {}


def _read_unified(path: Path, host_memory: int) -> Usage:
    cpu = _pairs(path / "cpu.stat")
    usage = {
        "total_usage": cpu.get("usage_usec", 0) * _MICROSECOND,
        "usage_in_kernelmode": cpu.get("system_usec", 0) * _MICROSECOND,
        "usage_in_usermode": cpu.get("user_usec", 0) * _MICROSECOND,
    }
    throttling = {
        "periods": cpu.get("nr_periods", 0),
        "throttled_periods": cpu.get("nr_throttled", 0),
        "throttled_time": cpu.get("throttled_usec", 0) * _MICROSECOND,
    }
    return Usage(
        {"cpu_usage": usage, "throttling_data": throttling},
        _memory_two(path, host_memory),
        # Nothing is told as null in this version, as an empty list in the first.
        {**NO_BLOCKS, "io_service_bytes_recursive": list(_io(_text(path / "io.stat"))) or None},
        _pids_two(path),
    )


def _memory_two(path: Path, host_memory: int) -> dict[str, Any]:
    usage = _number(path / "memory.current")
    if usage is None:
        return {}
    limit = _number(path / "memory.max") or host_memory
    failures = _pairs(path / "memory.events").get("oom", 0)
    counted = _pairs(path / "memory.stat")
    return {
        "usage": usage,
        "stats": {name: counted.get(name, 0) for name in _MEMORY_TWO},
        **({"failcnt": failures} if failures else {}),
        "limit": min(limit, host_memory),
    }


def _io(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        device, *words = line.split()
        major, _, minor = device.partition(":")
        values = dict(word.split("=", 1) for word in words if "=" in word)
        for op, name in (("read", "rbytes"), ("write", "wbytes")):
            if name in values:
                yield {
                    "major": int(major),
                    "minor": int(minor),
                    "op": op,
                    "value": int(values[name]),
                }


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """Return the number in a file; None where there is none, as in ``max``."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _pairs(path: Path) -> dict[str, int]:
    """Return the lines ``NAME NUMBER`` of a file."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _told(path: Path, names: frozenset[str]) -> dict[str, int]:
    """Return those of the lines ``NAME NUMBER`` of a file that have one of `names`."""
    return {name: value for name, value in _pairs(path).items() if name in names}
