"""The feeds of all containers whose logs are sent elsewhere.

Rule: a feed outlives its container's end until all is delivered, and ends with its removal.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from dockerapi.local.containers.logs.drivers.feed import Feed
from dockerapi.local.containers.logs.drivers.message import Driver
from dockerapi.local.containers.logs.spool.changes import Changes
from dockerapi.local.containers.logs.spool.files import LogFiles


class Fed(Protocol):
    """What feeding needs to know of a container."""

    @property
    def id(self) -> str: ...  # noqa: D102
    def removal(self) -> Deferred[Any]: ...  # noqa: D102


class Feeds:
    """Starts and ends feeds."""

    def __init__(self, changes: Changes, clock: IReactorTime) -> None:
        self._changes = changes
        self._clock = clock
        self._feeds: dict[str, Feed] = {}

    def start(self, container: Fed, files: LogFiles, driver: Driver) -> None:
        """Send the log of a container through `driver`, from where it was sent last."""
        feed = self._feeds.get(container.id)
        if feed is None:
            feed = self._feeds[container.id] = Feed(files, driver, self._changes, self._clock)
            container.removal().addCallback(lambda _: self._forget(container.id))
        feed.start()

    def end(self, container: Fed) -> None:
        """Send what there is of the log of a container that has ended, and no more."""
        feed = self._feeds.get(container.id)
        if feed is not None:
            feed.end()

    def stop(self) -> None:
        """Send nothing any more; a later server goes on."""
        for feed in self._feeds.values():
            feed.stop()
        self._feeds.clear()

    def _forget(self, identity: str) -> None:
        feed = self._feeds.pop(identity, None)
        if feed is not None:
            feed.give_up()
