"""The programs that run containers here."""

from __future__ import annotations

import attrs

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.rootfs import Host
from dockerapi.local.containers.runtime import RUNTIMES, Runtime
from dockerapi.local.host.grace import GracePeriod
from dockerapi.local.host.spawn import find_program


@attrs.frozen
class Tools:
    """What a start needs of this host.

    :ivar conmon: the path of conmon.
    :ivar host: the init program and the kind of cgroups.
    """

    runtime: Runtime
    conmon: str
    host: Host

    def runtime_of(self, identity: str) -> Runtime:
        """Return the runtime that keeps the container `identity`; `runtime` where none does.

        Its state says which one: a server may have been started with another runtime since.
        Raises `MissingProgram` where it is not installed any more.
        """
        for name in RUNTIMES:
            root = self.runtime.root.parent / name
            if name != self.runtime.name and (root / identity).exists():
                return attrs.evolve(
                    self.runtime, name=name, path=find_program(name), root=root, sealed=""
                )
        return self.runtime


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
