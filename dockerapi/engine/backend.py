"""What an engine's backend offers to the daemon."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from dockerapi.engine.engine import Engine


class Backend(Protocol):
    """Handlers for the operations of the API, and their life."""

    def register(self, engine: Engine) -> None:
        """Register handlers for everything that this backend can do."""
        ...

    async def start(self) -> None:
        """Make ready to serve; raise an `EngineError` that says what is wrong and what helps."""
        ...

    async def stop(self) -> None:
        """Let go of everything that belongs to this process; containers run on."""
        ...


@runtime_checkable
class StopsContainers(Protocol):
    """A backend that itself stops all containers at the server's end.

    Unlike a client's stop this leaves those with a restart policy ones to start again.
    """

    async def stop_all(self) -> None:
        """Stop every container that runs; what cannot be stopped is logged."""
        ...
