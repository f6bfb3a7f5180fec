"""What a client says by `SecurityOpt`.

Source: `HostConfig.SecurityOpt` of the specification. Rule: an option that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from dockerapi.engine.errors import InvalidParameter

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@attrs.frozen
class SecurityOptions:
    """The options read.

    :ivar seccomp_profile: a profile of the client's own, as text; empty for the built-in one.
    :ivar apparmor: the name of an AppArmor profile; empty for the default.
    :ivar ignored: those that have no effect here, as they came.
    """

    no_new_privileges: bool = False
    seccomp_unconfined: bool = False
    seccomp_profile: str = ""
    apparmor: str = ""
    ignored: tuple[str, ...] = ()

    @classmethod
    def parse(cls, options: Sequence[str]) -> SecurityOptions:
        """Read `options`; raise `InvalidParameter` for one that is not known."""
        no_new_privileges = False
        seccomp = apparmor = ""
        ignored = []
        for option in options:
            # Older clients write a colon.
            separator = "=" if "=" in option else ":"
            name, found, value = option.partition(separator)
            if not found and name != "no-new-privileges":
                raise InvalidParameter(f'invalid --security-opt 1: "{option}"')
            if name == "no-new-privileges":
                if found and value not in _TRUE | _FALSE:
                    raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
                no_new_privileges = not found or value in _TRUE
            elif name == "seccomp":
                seccomp = value
            elif name == "apparmor":
                apparmor = value
            elif name == "writable-cgroups":
                ignored.append(option)
            elif name == "label":
                # As dockerd without SELinux: a label has no meaning then.
                continue
            else:
                raise InvalidParameter(f'invalid --security-opt 2: "{option}"')
        own = seccomp if seccomp not in ("unconfined", "builtin") else ""
        return cls(no_new_privileges, seccomp == "unconfined", own, apparmor, tuple(ignored))
