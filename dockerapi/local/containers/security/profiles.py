"""Seccomp profiles that clients bring, in dockerd's form.

Source: dockerd's profile format (`default.json` and its documentation), ``linux.seccomp`` of the
OCI runtime specification. Rule: pure; what applies to this machine and these capabilities is
chosen here, and compiled by the runtime.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Struct, field

from dockerapi.engine.errors import InvalidParameter

#: What profiles call the machines (Go's names).
_GO_MACHINES = {
    "x86_64": "amd64",
    "i686": "x86",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
#: Runtimes take long over many: there are some 500 calls, and a few rules for each.
_MOST_NAMES = 20_000
_SECCOMP_MACHINES = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}


class _Argument(Struct):
    index: int
    op: str
    value: int = 0
    valueTwo: int = 0


class _Condition(Struct, rename="camel"):
    """When a rule applies; `min_kernel` as in ``4.8``."""

    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str = ""


class _Rule(Struct, rename="camel"):
    action: str
    names: list[str] | None = None
    name: str = ""
    args: list[_Argument] | None = None
    includes: _Condition = field(default_factory=_Condition)
    excludes: _Condition = field(default_factory=_Condition)
    errno_ret: int | None = None


class _Architecture(Struct, rename="camel"):
    architecture: str
    sub_architectures: list[str] | None = None


class _Profile(Struct, rename="camel"):
    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[_Architecture] | None = None
    syscalls: list[_Rule] | None = None
    flags: list[str] | None = None


def parse_profile(text: str) -> _Profile:
    """Read a profile; raise `InvalidParameter` for what is none."""
    try:
        profile = msgspec.json.decode(text, type=_Profile)
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise InvalidParameter(f"Decoding seccomp profile failed: {error}") from None
    if profile.architectures and profile.arch_map:
        raise InvalidParameter(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    if sum(len(rule.names or ()) for rule in profile.syscalls or ()) > _MOST_NAMES:
        raise InvalidParameter(
            f"Decoding seccomp profile failed: it names more than {_MOST_NAMES} system calls"
        )
    for rule in profile.syscalls or ():
        if rule.name and rule.names:
            raise InvalidParameter(
                "both 'name' and 'names' are specified in the seccomp profile, "
                "use either 'name' or 'names'"
            )
    return profile


def custom_profile(
    text: str,
    capabilities: Collection[str],
    machine: str | None = None,
    kernel: str | None = None,
) -> dict[str, Any]:
    """Return the OCI ``linux.seccomp`` of the profile `text` for a container.

    `machine` and `kernel` are as `platform.machine` and `platform.release` tell them. Raises
    `InvalidParameter`.
    """
    profile = parse_profile(text)
    native = _GO_MACHINES.get(machine or platform.machine(), "")
    version = _version(kernel or platform.release())
    document: dict[str, Any] = {
        "defaultAction": profile.default_action,
        "syscalls": [
            _rule(rule)
            for rule in profile.syscalls or ()
            if _applies(rule, capabilities, native, version)
        ],
    }
    if profile.default_errno_ret is not None:
        document["defaultErrnoRet"] = profile.default_errno_ret
    if profile.flags:
        document["flags"] = profile.flags
    architectures = _architectures(profile, native)
    if architectures:
        document["architectures"] = architectures
    return document


def _architectures(profile: _Profile, native: str) -> list[str]:
    if profile.architectures:
        return profile.architectures
    for one in profile.arch_map or ():
        if one.architecture == _SECCOMP_MACHINES.get(native, f"SCMP_ARCH_{native.upper()}"):
            return [one.architecture, *(one.sub_architectures or ())]
    return []


def _applies(
    rule: _Rule, capabilities: Collection[str], native: str, kernel: tuple[int, int]
) -> bool:
    includes, excludes = rule.includes, rule.excludes
    return not (
        (includes.arches and native not in includes.arches)
        or (excludes.arches and native in excludes.arches)
        or not set(includes.caps or ()) <= set(capabilities)
        or set(excludes.caps or ()) & set(capabilities)
        or (includes.min_kernel and kernel < _version(includes.min_kernel))
        or (excludes.min_kernel and kernel >= _version(excludes.min_kernel))
    )


def _rule(rule: _Rule) -> dict[str, Any]:
    found: dict[str, Any] = {"names": rule.names or [rule.name], "action": rule.action}
    if rule.errno_ret is not None:
        found["errnoRet"] = rule.errno_ret
    if rule.args:
        found["args"] = [msgspec.to_builtins(one) for one in rule.args]
    return found


def _version(text: str) -> tuple[int, int]:
    """Return major and minor of a kernel's version; raise `InvalidParameter`."""
    match = re.match(r"(\d{1,6})\.(\d{1,6})", text, re.ASCII)
    if match is None:
        raise InvalidParameter(f"invalid kernel version in the seccomp profile: {text!r}")
    return int(match[1]), int(match[2])
