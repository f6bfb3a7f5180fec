"""The programs that run containers here.

Rule: what is missing is no error before somebody needs it.
"""

from __future__ import annotations

import msgspec

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.runtime.rootfs import Host
from dockerapi.local.containers.runtime.runtime import Runtime
from dockerapi.local.containers.runtime.runtimes import Runtimes
from dockerapi.local.host.grace import GracePeriod


class Tools(msgspec.Struct, frozen=True):
    """What a start needs of this host.

    :ivar conmon: the path of conmon.
    :ivar host: the init program and the kind of cgroups.
    """

    runtimes: Runtimes
    conmon: str
    host: Host

    def runtime_of(self, identity: str) -> Runtime:
        """Return the runtime that keeps the container `identity` (see `Runtimes.of`)."""
        return self.runtimes.of(identity)


class Toolbox:
    """What of the tools was found when the engine started.

    :ivar grace: to begin when a process is about to be put into a cgroup.
    :ivar tools: None where something is missing, and `missing` says what and the remedy.
    """

    def __init__(self) -> None:
        self.grace = GracePeriod()
        self.tools: Tools | None = None
        self.missing = "the engine has not started"

    def require(self) -> Tools:
        """Return the tools; raise `EngineError` where something is missing."""
        if self.tools is None:
            raise EngineError(self.missing)
        return self.tools
