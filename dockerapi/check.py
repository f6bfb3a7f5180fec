"""`dockerapi check`: what this host has and lacks for running containers, with remedies.

Rule: it only looks; nothing is changed, and nothing of the server is started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from dockerapi.local.containers.security.apparmor import has_parser, is_on
from dockerapi.local.host.advisories import known_advisories
from dockerapi.local.host.probe import HostFacts, Tool, probe_host
from dockerapi.model.versions import NEWEST, OLDEST

#: The kernel that has what is needed: openat2, pidfds that are polled, overlayfs' `volatile`.
_KERNEL = (5, 10)

#: Where programs of the distribution's packages are.
_DISTRIBUTION = ("/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/")

OK, WARNING, MISSING = "ok", "warning", "missing"


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, how it is, and what helps where it is not well."""

    what: str
    state: str
    found: str
    remedy: str = ""


def main(argv: Sequence[str]) -> int:
    """Print what the host has and lacks; return 0 when containers can run, else 1.

    `argv` takes nothing but ``--data-root PATH``.
    """
    root = Path("/var/lib/dockerapi")
    if len(argv) == 2 and argv[0] == "--data-root":
        root = Path(argv[1])
    elif argv:
        print("usage: dockerapi check [--data-root PATH]")
        return 2
    found: list[Finding] = []

    def look(_: Any) -> Deferred[None]:
        async def gather() -> None:
            found.extend(findings(await probe_host(root)))

        return Deferred.fromCoroutine(gather())

    try:
        react(look)
    except SystemExit as end:
        if end.code:
            return 1
    print(render(found))
    return 1 if any(finding.state == MISSING for finding in found) else 0


def render(found: Sequence[Finding]) -> str:
    """Return the findings as a table, and a last line that sums them up."""
    lines = []
    for finding in found:
        lines.append(f"{finding.state:<8} {finding.what:<22} {finding.found}")
        if finding.remedy:
            lines.append(f"{'':<8} -> {finding.remedy}")
    missing = sum(finding.state == MISSING for finding in found)
    lines.append(
        f"{missing} missing: containers cannot be run as they should"
        if missing
        else f"ready for containers (API {OLDEST} to {NEWEST})"
    )
    return "\n".join(lines)


def findings(host: HostFacts) -> Iterator[Finding]:
    """Give what is found on `host`, most needed first."""
    yield from _system(host)
    if is_on():
        yield _apparmor()
    yield from _runtimes(host)
    yield _program(host, "conmon", "apt-get install conmon")
    yield _firewall(host)
    yield _init(host)


def _system(host: HostFacts) -> Iterator[Finding]:
    root = os.geteuid() == 0
    yield Finding(
        "user",
        OK if root else MISSING,
        "root" if root else f"uid {os.geteuid()}",
        "" if root else "run the server as root",
    )
    release = host.kernel.split(".")
    recent = tuple(int(part) for part in release[:2] if part.isdecimal()) >= _KERNEL
    yield Finding(
        "kernel",
        OK if recent else MISSING,
        host.kernel,
        "" if recent else f"Linux {_KERNEL[0]}.{_KERNEL[1]} or newer is needed",
    )
    lacking = [name for name in ("MemoryLimit", "CPUShares", "PidsLimit") if not host.limits[name]]
    yield Finding(
        "cgroups",
        WARNING if lacking else OK,
        host.cgroup_mode + (f", without {', '.join(lacking)}" if lacking else ""),
        "enable the controllers (cgroup_enable= on the kernel's command line)" if lacking else "",
    )
    yield _overlay(host)
    yield Finding(
        "seccomp",
        OK if host.seccomp else WARNING,
        "in this kernel" if host.seccomp else "not in this kernel",
        "" if host.seccomp else "containers run without a filter of system calls",
    )


def _overlay(host: HostFacts) -> Finding:
    what, on = "overlay file system", f"on {host.filesystem}"
    if not host.overlay:
        return Finding(what, MISSING, "not in this kernel", "modprobe overlay")
    if host.filesystem == "overlay":
        return Finding(what, MISSING, on, "--data-root on another file system, such as a volume's")
    return Finding(what, OK, on)


def _apparmor() -> Finding:
    if has_parser():
        return Finding("AppArmor", OK, "on")
    remedy = "apt-get install apparmor; without its parser AppArmor confines no container"
    return Finding("AppArmor", WARNING, "on, without apparmor_parser", remedy)


def _runtimes(host: HostFacts) -> Iterator[Finding]:
    present = [host.tools[name] for name in ("crun", "runc") if host.tools[name].path is not None]
    if not present:
        yield Finding("runtime", MISSING, "neither runc nor crun", "apt-get install runc")
    for tool in present:
        holes = known_advisories(tool.name, tool.version, tool.commit)
        yield Finding(
            tool.name,
            WARNING if holes else OK,
            f"{tool.version} ({tool.path})",
            "; ".join(f"{hole.cve}: {hole.what}" for hole in holes) + _advice(tool, bool(holes)),
        )


def _advice(tool: Tool, holes: bool) -> str:
    """Say what to do about holes; a distribution may have mended them under an old number."""
    if not holes:
        return ""
    if tool.path is None or not tool.path.startswith(_DISTRIBUTION):
        return " -- upgrade it"
    return (
        " -- upgrade it, unless your distribution's security tracker says that its package"
        " has them mended"
    )


def _program(host: HostFacts, name: str, remedy: str) -> Finding:
    tool = host.tools[name]
    if tool.path is None:
        return Finding(name, MISSING, "not installed", remedy)
    return Finding(name, OK, f"{tool.version} ({tool.path})")


def _firewall(host: HostFacts) -> Finding:
    for name in ("nft", "iptables"):
        tool = host.tools[name]
        if tool.path is not None:
            return Finding("firewall", OK, f"{name} {tool.version}")
    return Finding("firewall", MISSING, "neither nft nor iptables", "apt-get install nftables")


def _init(host: HostFacts) -> Finding:
    for name in ("tini", "catatonit"):
        tool = host.tools[name]
        if tool.path is not None:
            return Finding("init (--init)", OK, f"{name} {tool.version}")
    return Finding("init (--init)", WARNING, "neither tini nor catatonit", "apt-get install tini")
