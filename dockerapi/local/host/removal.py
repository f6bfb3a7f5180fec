"""Removing large trees beside everything else.

Rule: a child does it, since whoever removes a million files holds the interpreter's lock; what is
mounted in a tree is left alone.
"""

from __future__ import annotations

from pathlib import Path

from dockerapi.engine.errors import EngineError
from dockerapi.local.host.spawn import run


async def remove_by_child(*paths: Path) -> None:
    """Remove directories with all that is in them, where they are; raise `EngineError`."""
    completed = await run(["rm", "-rf", "--one-file-system", "--", *paths])
    if completed.status:
        raise EngineError(completed.stderr.decode(errors="replace").strip())
