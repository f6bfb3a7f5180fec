"""Which capabilities a container's processes have.

Source: capabilities(7); the defaults are dockerd's. Rule: names are upper case with ``CAP_``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from dockerapi.engine.errors import InvalidParameter

#: What a container has unless it asks for more or less.
DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG
MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""

#: Every capability, by its number.
ALL = tuple(f"CAP_{name}" for name in _NAMES.split())


@cache
def available() -> tuple[str, ...]:
    """Return the capabilities that this process may hand on (its bounding set)."""
    with open("/proc/self/status") as file:
        mask = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    return tuple(name for number, name in enumerate(ALL) if mask >> number & 1)


def normalize(kind: str, names: Sequence[str]) -> list[str]:
    """Return `names` in full, with ALL as it is; `kind` (``CapAdd``) is for the error.

    Raises `InvalidParameter` for what is no capability, in dockerd's words.
    """
    found = []
    for name in names:
        full = name.upper()
        if full != "ALL" and not full.startswith("CAP_"):
            full = f"CAP_{full}"
        if full != "ALL" and full not in ALL:
            raise InvalidParameter(f'invalid {kind}: unknown capability: "{full}"')
        found.append(full)
    return found


def granted(add: Sequence[str], drop: Sequence[str], privileged: bool) -> list[str]:
    """Return what a container gets; `add` and `drop` as by `normalize`.

    What this process may not hand on is left out only where everything is asked for.
    """
    if privileged:
        return list(available())
    if "ALL" in add:
        return [name for name in available() if name not in drop]
    base: Sequence[str] = () if "ALL" in drop else DEFAULT
    kept = [name for name in base if name not in drop]
    return kept + [name for name in add if name not in kept and name not in drop]
