"""The OCI runtimes that containers may choose among; each is tried when it is first wanted.

Rule: a runtime keeps the containers that it made, whatever the default is later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import structs
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.runtime.probe import choose_runtime
from dockerapi.local.containers.runtime.runtime import RUNTIMES, Runtime, missing_error
from dockerapi.local.host.mountns import MountNamespace
from dockerapi.local.host.sealed import SealedProgram
from dockerapi.local.host.spawn import MissingProgram, find_program, spawn
from dockerapi.local.layout import Layout

#: Where hosts that have cgroups of both versions mount the second.
_HYBRID = Path("/sys/fs/cgroup/unified")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")
#: What dockerd calls its own; here it is the runtime that it uses.
_ALIASES = {"io.containerd.runc.v2": "runc"}


class Runtimes:
    """The runtimes of this host.

    :ivar default: what containers get that choose none; set by `start`.
    """

    log = Logger()

    def __init__(self, layout: Layout, conmon: str, programs: Mapping[str, str]) -> None:
        """Know `RUNTIMES`, and `programs`: further ones, paths by name.

        Raises `InvalidParameter` for a name that is none.
        """
        for name in programs:
            if not _NAME.fullmatch(name) or name in _ALIASES:
                raise InvalidParameter(f"invalid name of a runtime: {name!r}")
        self._programs = {name: name for name in RUNTIMES} | dict(programs)
        self._layout = layout
        self._conmon = conmon
        self._tried: dict[str, Runtime] = {}
        self._trying = DeferredLock()
        self._namespace: MountNamespace | None = None
        self._sealed: list[SealedProgram] = []
        self.default: Runtime | None = None

    @property
    def names(self) -> list[str]:
        """The names that containers may choose."""
        return [*self._programs]

    async def start(self, wanted: str) -> None:
        """Choose the default: `wanted`, a name or a path, else the first that works.

        Raises `EngineError` that says what is missing.
        """
        self._namespace = self._hide_unified()
        name = os.path.basename(wanted)
        if name != wanted:
            self._programs[name] = wanted
        candidates = {name: self._programs.get(name, name)} if name else None
        self.default = await self._try(
            candidates or {name: self._programs[name] for name in RUNTIMES}
        )
        await self._try_used(self.default)

    async def _try_used(self, default: Runtime) -> None:
        """Find out how to call the others that keep containers of an earlier server.

        What works for the default need not for them: they were called in their own way.
        """
        for name, program in self._programs.items():
            root = self._layout.run / name
            if name == default.name or not root.is_dir() or not os.listdir(root):
                continue
            try:
                await self._try({name: program})
            except EngineError as error:
                self.log.warn("the runtime {name}: {reason}", name=name, reason=error.message)

    async def get(self, name: str) -> Runtime:
        """Return the runtime that a container's `HostConfig.Runtime` names; the default for none.

        Raises `InvalidParameter` where there is no such runtime, `StartFailed` where its program
        is not there, `EngineError` where it does not work here.
        """
        name = _ALIASES.get(name, name)
        if self.default is not None and name in ("", self.default.name):
            return self.default
        self.check(name)
        await self._trying.acquire()
        try:
            return self._tried.get(name) or await self._try_wanted(name)
        finally:
            self._trying.release()

    async def _try_wanted(self, name: str) -> Runtime:
        program = self._programs[name]
        try:
            find_program(program)
        except MissingProgram:
            raise missing_error(program) from None
        return await self._try({name: program})

    def choose(self, name: str, otherwise: object) -> str:
        """Return the runtime for a container that asks for `name`; the default's for none.

        `otherwise` is taken where it is one's name, and `name` is empty. Raises `InvalidParameter`
        where there is no runtime called `name`.
        """
        self.check(name)
        if not name and otherwise in self.names:
            return str(otherwise)
        return name or (self.default.name if self.default else "")

    def check(self, name: str) -> None:
        """Raise `InvalidParameter` where there is no runtime called `name`."""
        if name and _ALIASES.get(name, name) not in self._programs:
            raise InvalidParameter(f"unknown or invalid runtime name: {name}")

    def of(self, identity: str) -> Runtime:
        """Return the runtime that keeps the container `identity`; the default where none does.

        Raises `EngineError` where it is not installed any more.
        """
        default = self.default
        if default is None:
            raise EngineError("no OCI runtime works")
        for name, program in self._programs.items():
            root = self._layout.run / name
            if name != default.name and (root / identity).exists():
                found = structs.replace(default, path=find_program(program), root=root, sealed="")
                return self._tried.get(name) or structs.replace(found, name=name)
        return default

    def close(self) -> None:
        """Let go of what this process holds of them; containers run on."""
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None
        for sealed in self._sealed:
            sealed.close()
        self._sealed.clear()

    async def _try(self, candidates: Mapping[str, str]) -> Runtime:
        spawner = spawn if self._namespace is None else self._namespace.spawn
        found = await choose_runtime(self._layout, self._conmon, candidates, spawner)
        sealed = SealedProgram(found.path, self._layout.programs / found.name)
        self._sealed.append(sealed)
        runtime = structs.replace(found, sealed=str(sealed.path))
        self._tried[runtime.name] = runtime
        return runtime

    def _hide_unified(self) -> MountNamespace | None:
        """Return a namespace without the second version of cgroups, where there are both."""
        if not _HYBRID.is_dir():
            return None
        namespace = MountNamespace(self._layout.containers, _HYBRID)
        try:
            namespace.open()
        except OSError as error:
            self.log.info("no mount namespace for crun: {error}", error=error)
            return None
        return namespace
