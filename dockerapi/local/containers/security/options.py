"""What a client says by `SecurityOpt`.

Source: `HostConfig.SecurityOpt` of the specification. Rule: an option that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dockerapi.engine.errors import InvalidParameter

#: Options that are on or off; alone they are on.
_SWITCHES = frozenset({"no-new-privileges", "writable-cgroups"})
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class SecurityOptions(msgspec.Struct, frozen=True):
    """The options read.

    :ivar seccomp_profile: a profile of the client's own, as text; empty for the built-in one.
    :ivar apparmor: the name of an AppArmor profile; empty for the default.
    :ivar writable_cgroups: whether the container may write its cgroups; None where it is not said.
    """

    no_new_privileges: bool = False
    seccomp_unconfined: bool = False
    seccomp_profile: str = ""
    apparmor: str = ""
    writable_cgroups: bool | None = None

    @classmethod
    def parse(cls, options: Sequence[str]) -> SecurityOptions:
        """Read `options`; raise `InvalidParameter` for one that is not known."""
        no_new_privileges = False
        seccomp = apparmor = ""
        writable = None
        for option in options:
            # Older clients write a colon.
            separator = "=" if "=" in option else ":"
            name, found, value = option.partition(separator)
            if not found and name not in _SWITCHES:
                raise InvalidParameter(f'invalid --security-opt 1: "{option}"')
            if name in _SWITCHES:
                if found and value not in _TRUE | _FALSE:
                    raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
                on = not found or value in _TRUE
                if name == "no-new-privileges":
                    no_new_privileges = on
                else:
                    writable = on
            elif name == "seccomp":
                seccomp = value
            elif name == "apparmor":
                apparmor = value
            elif name == "label":
                # As dockerd without SELinux: a label has no meaning then.
                continue
            else:
                raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
        own = seccomp if seccomp not in ("unconfined", "builtin") else ""
        return cls(no_new_privileges, seccomp == "unconfined", own, apparmor, writable)
