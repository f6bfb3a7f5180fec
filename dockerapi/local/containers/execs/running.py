"""What is known of an exec that runs, however it was started."""

from __future__ import annotations

from typing import Protocol


class Running(Protocol):
    """The process of an exec."""

    @property
    def pid(self) -> int:
        """Its number, seen from this host."""
        ...

    async def end(self, pidfd: int | None) -> int:
        """Return its exit code once it has ended.

        `pidfd` is its own, None where it had ended before that could be opened.
        """
        ...
