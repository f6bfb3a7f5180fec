"""The OCI runtime: which one there is, and how it is called.

Source: runc(8), crun(1). Rule: a runtime is chosen by a probe that runs it, not by its name.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from dockerapi.local.host.spawn import Completed, Spawner, run, spawn


@attrs.frozen
class Runtime:
    """An OCI runtime that works here.

    :ivar name: ``runc`` or ``crun``.
    :ivar path: the program.
    :ivar version: as it tells itself.
    :ivar root: the directory of its state.
    :ivar spawn: starts a child from which the runtime can work (conmon, or the runtime itself).
    """

    name: str
    path: str
    version: str
    root: Path
    spawn: Spawner = spawn

    @property
    def global_arguments(self) -> tuple[str, ...]:
        """What stands before every command."""
        return (f"--root={self.root}",)

    async def call(self, *arguments: str, timeout: float = 60.0) -> Completed:
        """Run one command of the runtime (``kill``, ``pause``, ``delete``, ...) to its end."""
        return await run(
            [self.path, *self.global_arguments, *arguments], timeout=timeout, spawner=self.spawn
        )
