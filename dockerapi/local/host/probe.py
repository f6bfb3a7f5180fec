"""What this host is and has: kernel, cgroups, memory, and the programs that containers need.

Rule: gathered once, programs asked side by side; what cannot be found out is empty, never a guess.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, gatherResults

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.spawn import find_program, run
from dockerapi.local.host.syscalls import check_file_system
from dockerapi.local.host.threads import in_thread

#: The programs, and how each tells its version.
PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "runc": ("--version",),
    "crun": ("--version",),
    "conmon": ("--version",),
    "tini": ("--version",),
    "catatonit": ("--version",),
    "nft": ("--version",),
    "iptables": ("--version",),
}

_VERSION = re.compile(r"v?(\d+(?:\.\d+)+[-+~.\w]*)")
_COMMIT = re.compile(r"commit: *(\S+)")
#: What `/info` tells of a host's limits, and the file of cgroups v1 that shows each.
_LIMITS_V1 = {
    "MemoryLimit": "memory/memory.limit_in_bytes",
    "SwapLimit": "memory/memory.memsw.limit_in_bytes",
    "CpuCfsPeriod": "cpu/cpu.cfs_period_us",
    "CpuCfsQuota": "cpu/cpu.cfs_quota_us",
    "CPUShares": "cpu/cpu.shares",
    "CPUSet": "cpuset/cpuset.cpus",
    "PidsLimit": "pids/cgroup.procs",
    "OomKillDisable": "memory/memory.oom_control",
}
_LIMITS_V2 = {
    "MemoryLimit": "memory",
    "SwapLimit": "memory",
    "CpuCfsPeriod": "cpu",
    "CpuCfsQuota": "cpu",
    "CPUShares": "cpu",
    "CPUSet": "cpuset",
    "PidsLimit": "pids",
}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


class Tool(msgspec.Struct, frozen=True):
    """A program: where it is (None where it is not), its version and the commit it was built of."""

    name: str
    path: str | None = None
    version: str = ""
    commit: str = ""


class HostFacts(msgspec.Struct, frozen=True):
    """What was found out about this host.

    :ivar architecture: as Go names it (``amd64``), `machine` as the kernel does (``x86_64``).
    :ivar memory: in bytes.
    :ivar cgroup_mode: ``v1``, ``hybrid`` or ``v2``.
    :ivar filesystem: the type of the data root's file system, as `/info` writes it.
    :ivar limits: what can be limited, by `/info`'s names.
    :ivar tools: every program of `PROGRAMS`, by name.
    :ivar warnings: what is missing, each with what it means.
    """

    kernel: str
    operating_system: str
    os_version: str
    machine: str
    architecture: str
    cpus: int
    memory: int
    cgroup_mode: str
    filesystem: str
    seccomp: bool
    overlay: bool
    limits: Mapping[str, bool]
    tools: Mapping[str, Tool]
    warnings: tuple[str, ...]


async def probe_host(data_root: Path) -> HostFacts:
    """Return the facts of this host; programs run as children, files are read in a thread."""
    asked = [Deferred.fromCoroutine(_ask(name, options)) for name, options in PROGRAMS.items()]
    found = await gatherResults(asked)
    tools = {tool.name: tool for tool in found}
    return await in_thread(_facts, data_root, tools)


async def _ask(name: str, options: tuple[str, ...]) -> Tool:
    try:
        path = find_program(name)
        done = await run([path, *options], timeout=5.0)
    except EngineError:
        return Tool(name)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    version = _VERSION.search(said)
    commit = _COMMIT.search(said)
    return Tool(name, path, version[1] if version else "", commit[1] if commit is not None else "")


def _facts(data_root: Path, tools: Mapping[str, Tool]) -> HostFacts:
    release = _os_release()
    mode = cgroup_mode()
    overlay = _has_overlay()
    machine = platform.machine()
    limits = _limits(mode)
    return HostFacts(
        kernel=platform.release(),
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        machine=machine,
        architecture=_ARCHITECTURES.get(machine, machine),
        cpus=os.cpu_count() or 1,
        memory=_memory(),
        cgroup_mode=mode,
        filesystem=filesystem_of(data_root),
        seccomp="Seccomp:" in _read("/proc/self/status"),
        overlay=overlay,
        limits=limits,
        tools=tools,
        warnings=tuple(_warnings(tools, limits, overlay)),
    )


def _has_overlay() -> bool:
    try:
        check_file_system("overlay")
    except OSError:
        return "overlay" in _read("/proc/filesystems")
    return True


def _memory() -> int:
    """Return the bytes of memory that the kernel shows; containers may be shown less (lxcfs)."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def cgroup_mode(root: Path = Path("/sys/fs/cgroup")) -> str:
    """Return ``v2``, ``hybrid`` or ``v1``."""
    if (root / "cgroup.controllers").exists():
        return "v2"
    return "hybrid" if (root / "unified" / "cgroup.controllers").exists() else "v1"


def _limits(mode: str) -> dict[str, bool]:
    root = Path("/sys/fs/cgroup")
    if mode == "v2":
        controllers = _read(str(root / "cgroup.controllers")).split()
        found = {name: controller in controllers for name, controller in _LIMITS_V2.items()}
        found["OomKillDisable"] = False
    else:
        found = {name: (root / file).exists() for name, file in _LIMITS_V1.items()}
    found["IPv4Forwarding"] = _read("/proc/sys/net/ipv4/ip_forward").strip() == "1"
    return found


def _warnings(tools: Mapping[str, Tool], limits: Mapping[str, bool], overlay: bool) -> list[str]:
    warnings = []
    if tools["runc"].path is None and tools["crun"].path is None:
        warnings.append("WARNING: No runtime: install runc or crun to run containers")
    if tools["conmon"].path is None:
        warnings.append("WARNING: No monitor: install conmon to run containers")
    if tools["nft"].path is None and tools["iptables"].path is None:
        warnings.append("WARNING: No firewall: install nftables to let containers reach outside")
    if not overlay:
        warnings.append("WARNING: No overlay file system in this kernel")
    for name, text in (
        ("MemoryLimit", "memory limit"),
        ("SwapLimit", "swap limit"),
        ("CPUShares", "cpu shares"),
        ("PidsLimit", "pids limit"),
    ):
        if not limits[name]:
            warnings.append(f"WARNING: No {text} support")
    if os.geteuid() != 0:
        warnings.append("WARNING: Not root: containers cannot be run")
    return warnings


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def filesystem_of(path: Path) -> str:
    """Return the type of the file system that `path` is on, as `/info` writes it."""
    best, kind = "", ""
    target = str(path.resolve())
    for line in _read("/proc/self/mounts").splitlines():
        fields = line.split(" ")
        mount = fields[1].rstrip("/")
        if (target == mount or target.startswith(mount + "/")) and len(mount) >= len(best):
            best, kind = mount, fields[2]
    return "extfs" if kind.startswith("ext") else kind


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
