"""Who is told when containers start and end: their logs, their streams, their health checks.

Rule: what fails for one of them at an end is logged and keeps nobody else from being told.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.runtime.conmon import Watch


class Observer:
    """One that is told; a subclass has the methods for what concerns it."""

    def before_start(self, container: Container, watch: Watch) -> None:
        """A container has a monitor, and its process waits to be let go.

        What is raised here lets the start fail.
        """

    def started(self, container: Container) -> None:
        """A container has started, or runs on from an earlier server."""

    def ended(self, container: Container) -> None:
        """A container has ended, failed to start, or is removed."""


class Observers(Observer):
    """Tells several: of starts in their order, of ends in the reverse of it."""

    log = Logger()

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def before_start(self, container: Container, watch: Watch) -> None:
        """See `Observer.before_start`."""
        for one in self._observers:
            one.before_start(container, watch)

    def started(self, container: Container) -> None:
        """See `Observer.started`."""
        for one in self._observers:
            one.started(container)

    def ended(self, container: Container) -> None:
        """See `Observer.ended`; raises nothing."""
        for one in reversed(self._observers):
            try:
                one.ended(container)
            except Exception:
                self.log.failure("the container {id} was not let go", id=container.id)
