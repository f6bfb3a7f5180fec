"""What an engine's backend offers to the daemon, and the facts that it tells of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from dockerapi.model.versions import NEWEST, OLDEST, Version

if TYPE_CHECKING:
    from dockerapi.engine.engine import Engine


@attrs.define
class Facts:
    """What every answer of the API tells of the engine; a backend sets it in its start.

    :ivar newest: the newest API version that it speaks, and `oldest` the oldest.
    :ivar os: the operating system of its containers.
    :ivar experimental: whether experimental features are on.
    :ivar builder: version of the default builder (``1`` classic, ``2`` BuildKit); empty for none.
    :ivar swarm: state of its swarm, as in the `Swarm` header of ``/_ping``.
    """

    newest: Version = NEWEST
    oldest: Version = OLDEST
    os: str = "linux"
    experimental: bool = False
    builder: str = ""
    swarm: str = "inactive"


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
