"""AppArmor: the profile that confines containers where the kernel has AppArmor switched on.

Source: apparmor.d(5), apparmor_parser(8); what is denied, and the profile's name, are dockerd's.
Rule: where AppArmor can be used, a container is never started without it because the profile could
not be loaded: the runtime is told the profile's name, and refuses one that is not there. As with
dockerd it cannot be used without its parser, and not from inside a container.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from twisted.logger import Logger

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.security.options import SecurityOptions
from dockerapi.local.host.spawn import MissingProgram, find_program, run
from dockerapi.model.containers import HostConfig

#: A dockerd beside us has it too, and one that is loaded is left as it is.
DEFAULT = "docker-default"
UNCONFINED = "unconfined"

_PARSER = "apparmor_parser"
_SWITCH = Path("/sys/module/apparmor/parameters/enabled")
_KERNEL = Path("/sys/kernel/security/apparmor")
_LOADED = _KERNEL / "profiles"
_POLICY = Path("/etc/apparmor.d")

#: Files of /proc that no container writes: all but its processes' and sys/kernel/shm*.
_DENIED = """\
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,

  deny mount,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
"""


@cache
def is_enabled() -> bool:
    """Tell whether containers are confined by AppArmor here."""
    return is_on() and has_parser()


def is_on() -> bool:
    """Tell whether this kernel has AppArmor on, and takes profiles from here."""
    try:
        # Who starts containers tells them so by this variable; their kernel's switch is the host's.
        on = _SWITCH.read_text().startswith("Y") and "container" not in os.environ
    except OSError:
        return False
    return on and _KERNEL.exists()


def has_parser() -> bool:
    """Tell whether profiles can be loaded here."""
    try:
        find_program(_PARSER)
    except MissingProgram:
        return False
    return True


def profile_of(host: HostConfig) -> str:
    """Return the profile of a container's processes; empty where there is no AppArmor."""
    if not is_enabled():
        return ""
    wanted = SecurityOptions.parse(host.security_opt or ()).apparmor
    return wanted or (UNCONFINED if host.privileged else DEFAULT)


def shown_profile(host: HostConfig, *, started: bool) -> str:
    """Return the profile that inspect tells.

    Where there is no AppArmor that is what was asked for, until a start shows that it has none.
    """
    asked = SecurityOptions.parse(host.security_opt or ()).apparmor
    return profile_of(host) or ("" if started else asked)


def profile_text(name: str = DEFAULT) -> str:
    """Return the profile `name` in AppArmor's language.

    Everything is allowed but what it denies; of other processes only those that are confined as
    it is may be traced and signalled, and only the runtime and the unconfined may signal it.
    """
    tunables = (_POLICY / "tunables/global").exists()
    base = (_POLICY / "abstractions/base").exists()
    lines = [
        "#include <tunables/global>" if tunables else "@{PROC}=/proc/",
        f"profile {name} flags=(attach_disconnected,mediate_deleted) {{",
        *(["  #include <abstractions/base>"] if base else []),
        *(f"  {rule}," for rule in ("network", "capability", "file", "umount")),
        *(f"  signal (receive) peer={peer}," for peer in (UNCONFINED, "runc", "crun")),
        f"  signal (send,receive) peer={name},",
        f"  ptrace (trace,read,tracedby,readby) peer={name},",
        "",
    ]
    return "\n".join(lines) + _DENIED + "}\n"


async def load() -> str:
    """Load the default profile where AppArmor is on and does not have it; return what is wrong.

    Nothing is wrong where there is no AppArmor, or the profile is there.
    """
    if is_on() and not has_parser():
        return f"AppArmor is on, but confines no container: {_PARSER} is not installed"
    if not is_enabled() or _is_loaded(DEFAULT):
        return ""
    try:
        # Without its cache, which is a directory of the host's.
        command = [find_program(_PARSER), "--skip-cache", "--replace"]
        done = await run(command, stdin=profile_text().encode(), timeout=30)
    except EngineError as error:
        reason = error.message
    else:
        if done.status == 0:
            return ""
        reason = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()
    _log.warn("the AppArmor profile {name} cannot be loaded: {reason}", name=DEFAULT, reason=reason)
    return f"AppArmor is on, and its profile {DEFAULT} cannot be loaded: {reason}"


def _is_loaded(name: str) -> bool:
    try:
        with _LOADED.open() as file:
            return any(line.partition(" (")[0] == name for line in file)
    except OSError:
        return False


_log = Logger()
