"""How much of the host a container may use.

Source: `Resources` of the specification, ``linux.resources`` of the OCI runtime specification;
texts as dockerd's. Rule: what the host's cgroups cannot limit is told as a warning, not set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import structs

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.runtime.blockio import block_spec, check_blocks, unsupported_weights
from dockerapi.model.containers import HostConfig, Ulimit
from dockerapi.model.defaults import with_defaults

_LEAST_MEMORY = 6 * 1024 * 1024
_PERIOD = 100_000
_BILLION = 1_000_000_000
#: More than any kernel has; a range beyond is not spelled out.
_MOST_PROCESSORS = 8191


class CgroupSupport(msgspec.Struct, frozen=True):
    """What the host's cgroups can limit.

    :ivar unified: whether there is version 2 alone.
    :ivar weights: whether block I/O has weights; `swappiness`: whether memory has it;
        `realtime`: whether processor time can be given to real-time tasks.
    """

    unified: bool
    memory: bool
    swap: bool
    cpu: bool
    cpuset: bool
    pids: bool
    weights: bool
    swappiness: bool
    realtime: bool


@cache
def cgroup_support() -> CgroupSupport:
    """Return what this host can limit; looked up once."""
    root = "/sys/fs/cgroup"
    if os.path.exists(f"{root}/cgroup.controllers"):
        with open(f"{root}/cgroup.controllers") as file:
            found = set(file.read().split())
        memory = "memory" in found
        return CgroupSupport(
            *(True, memory, memory, "cpu" in found, "cpuset" in found, "pids" in found),
            *("io" in found, False, False),
        )

    def has(name: str) -> bool:
        return os.path.exists(f"{root}/{name}")

    return CgroupSupport(
        False,
        has("memory/memory.limit_in_bytes"),
        has("memory/memory.memsw.limit_in_bytes"),
        has("cpu/cpu.cfs_quota_us"),
        has("cpuset/cpuset.cpus"),
        has("pids/cgroup.procs"),
        has("blkio/blkio.weight"),
        has("memory/memory.swappiness"),
        has("cpu/cpu.rt_runtime_us"),
    )


def check_resources(host: HostConfig, *, update: bool = False) -> None:
    """Raise `InvalidParameter` for limits that can never be; an `update` gives only some."""
    if host.memory and host.memory < _LEAST_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if host.memory > 0 and host.memory_swap > 0 and host.memory_swap < host.memory:
        raise InvalidParameter(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if not host.memory and host.memory_swap > 0 and not update:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if 0 < host.memory_reservation < _LEAST_MEMORY:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if host.memory and host.memory_reservation > host.memory:
        raise InvalidParameter(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    if host.oom_score_adj < -1000 or host.oom_score_adj > 1000:
        raise InvalidParameter(
            f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if host.memory_swappiness is not None and not -1 <= host.memory_swappiness <= 100:
        raise InvalidParameter(
            f"Invalid value: {host.memory_swappiness}, valid memory swappiness range is 0-100"
        )
    if host.cpu_shares < 0 and not update:
        raise InvalidParameter(
            f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer"
        )
    _check_processors(host)
    check_blocks(host)
    if host.shm_size < 0:
        raise InvalidParameter("SHM size can not be less than 0")


def _check_processors(host: HostConfig) -> None:
    if host.nano_cpus and (host.cpu_period or host.cpu_quota):
        given = "CPU Period" if host.cpu_period else "CPU Quota"
        raise InvalidParameter(f"Conflicting options: Nano CPUs and {given} cannot both be set")
    cpus = os.cpu_count() or 1
    if host.nano_cpus < 0 or host.nano_cpus > cpus * _BILLION:
        raise InvalidParameter(
            f"range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidParameter(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host.cpu_quota < 1000:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if (host.cpu_realtime_period or host.cpu_realtime_runtime) and not cgroup_support().realtime:
        raise InvalidParameter("kernel does not support CPU real-time scheduler")
    if 0 < host.cpu_realtime_period < host.cpu_realtime_runtime:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")
    check_set(host.cpuset_cpus, "CPUs", "/sys/devices/system/cpu/online")
    check_set(host.cpuset_mems, "memory nodes", "/sys/devices/system/node/online")


def check_set(wanted: str, kind: str, path: str) -> None:
    """Raise `InvalidParameter` where `wanted`, as in ``0-2,7``, is not all in the file `path`."""
    if not wanted:
        return
    try:
        asked = parse_set(wanted)
    except ValueError:
        title = "cpus" if kind == "CPUs" else "mems"
        raise InvalidParameter(
            f"Invalid value {wanted} for cpuset {title}: invalid format: {wanted}"
        ) from None
    try:
        with open(path, encoding="ascii") as file:
            available = file.read().strip()
    except OSError:
        return
    if not asked <= parse_set(available):
        raise InvalidParameter(
            f"Requested {kind} are not available - requested {wanted}, available: {available}"
        )


def parse_set(text: str) -> set[int]:
    """Read a list of numbers and ranges, as in ``0-2,7``; raise ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 12:
            raise ValueError(part)
        low, high = int(first), int(last or first)
        if not low <= high <= _MOST_PROCESSORS:
            raise ValueError(part)
        found.update(range(low, high + 1))
    return found


def drop_unsupported(host: HostConfig, support: CgroupSupport) -> tuple[HostConfig, list[str]]:
    """Return `host` with what `support` lacks left out, and a warning for each such limit."""
    warnings: list[str] = []
    changes: dict[str, Any] = {}
    for is_there, names, warning in _CONTROLLERS:
        asked = [name for name in names if getattr(host, name)]
        if asked and not is_there(support):
            warnings.append(warning)
            changes.update({name: type(getattr(host, name))() for name in asked})
    dropped = [_drop_pids_limit(host, support), *_drop_of_memory(host, support)]
    if not support.weights:
        dropped.append(unsupported_weights(host))
    for unset, told in dropped:
        changes |= unset
        warnings += told
    return structs.replace(host, **changes), warnings


#: What is left out where a controller is missing, and the warning then.
_CONTROLLERS: tuple[tuple[Callable[[CgroupSupport], bool], tuple[str, ...], str], ...] = (
    (
        lambda support: support.memory,
        ("memory", "memory_swap", "memory_reservation"),
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded.",
    ),
    (
        lambda support: support.cpu,
        ("cpu_shares", "nano_cpus", "cpu_period", "cpu_quota"),
        "Your kernel does not support CPU CFS scheduler, or the cgroup is not mounted. "
        "Limitation discarded.",
    ),
    (
        lambda support: support.cpuset,
        ("cpuset_cpus", "cpuset_mems"),
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
    ),
)


def _drop_pids_limit(host: HostConfig, support: CgroupSupport) -> tuple[dict[str, Any], list[str]]:
    if not host.pids_limit or support.pids:
        return {}, []
    return {"pids_limit": None}, [
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. "
        "PIDs limit discarded."
    ]


def _drop_of_memory(
    host: HostConfig, support: CgroupSupport
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield what is left out of the wishes beside the limit of memory, and the warnings."""
    if host.memory > 0 and support.memory and not support.swap:
        yield (
            {"memory_swap": -1},
            [
                "Your kernel does not support swap limit capabilities or the cgroup is not "
                "mounted. Memory limited without swap."
            ],
        )
    if host.oom_kill_disable and support.unified:
        yield (
            {"oom_kill_disable": None},
            ["Your kernel does not support OomKillDisable. OomKillDisable discarded."],
        )
    elif host.oom_kill_disable and not host.memory:
        yield (
            {},
            [
                "OOM killer is disabled for the container, but no memory limit is set, this can "
                "result in the system running out of resources."
            ],
        )
    if host.memory_swappiness not in (None, -1) and not support.swappiness:
        yield (
            {"memory_swappiness": None},
            [
                "Your kernel does not support memory swappiness capabilities or the cgroup is not "
                "mounted. Memory swappiness discarded."
            ],
        )


def adapt_resources(host: HostConfig, support: CgroupSupport) -> tuple[HostConfig, list[str]]:
    """Return `host` as `drop_unsupported` does, with dockerd's defaults set, and the warnings."""
    host, warnings = drop_unsupported(host, support)
    # Clients write "no limit" and "as the host" as numbers.
    if host.pids_limit is not None and host.pids_limit <= 0:
        host = structs.replace(host, pids_limit=None)
    if host.memory_swappiness == -1:
        host = structs.replace(host, memory_swappiness=None)
    if host.memory > 0 and not host.memory_swap:
        host = structs.replace(host, memory_swap=host.memory * 2)
    return host, warnings


def resources_spec(host: HostConfig) -> dict[str, Any]:
    """Return ``linux.resources`` without its devices.

    Raises `EngineError` for a device that block I/O is limited on and that there is not.
    """
    memory = _set(
        limit=host.memory,
        reservation=host.memory_reservation,
        swap=host.memory_swap if host.memory else 0,
        disableOOMKiller=bool(host.oom_kill_disable),
    )
    if host.memory_swap == -1 and not cgroup_support().swap:
        memory.pop("swap", None)
    period, quota = host.cpu_period, host.cpu_quota
    if host.nano_cpus:
        period, quota = _PERIOD, host.nano_cpus * _PERIOD // _BILLION
    cpu = _set(
        shares=host.cpu_shares,
        period=period,
        # crun writes -1 as a number that is too large.
        quota=max(quota, 0),
        cpus=host.cpuset_cpus,
        mems=host.cpuset_mems,
        realtimePeriod=host.cpu_realtime_period,
        realtimeRuntime=host.cpu_realtime_runtime,
    )
    if host.memory_swappiness is not None and host.memory_swappiness >= 0:
        memory["swappiness"] = host.memory_swappiness
    resources = _set(memory=memory, cpu=cpu, blockIO=block_spec(host))
    # 0 and less mean no limit, which a new cgroup has; crun does not know -1.
    if host.pids_limit and host.pids_limit > 0:
        resources["pids"] = {"limit": host.pids_limit}
    return resources


def rlimits(host: HostConfig, defaults: Iterable[Ulimit]) -> list[dict[str, Any]]:
    """Return the OCI process's ``rlimits``: those of `host`, and `defaults` for the others."""

    def unsigned(value: int) -> int:
        return value & (2**64 - 1)

    return [
        {
            "type": f"RLIMIT_{limit.name.upper()}",
            "soft": unsigned(limit.soft),
            "hard": unsigned(limit.hard),
        }
        for limit in with_defaults(host.ulimits, defaults)
    ]


def _set(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
