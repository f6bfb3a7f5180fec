"""The daemon under twistd: signals, and the exit status.

Rule: what ends the process is decided here and nowhere else.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from dockerapi.daemon import Daemon
from dockerapi.engine.errors import EngineError
from dockerapi.server.priority import raise_priority
from dockerapi.server.scavenger import Scavenger, give_back
from dockerapi.settings import Settings

if TYPE_CHECKING:
    from dockerapi.local.host.children import Orphans

_ENDING = (signal.SIGTERM, signal.SIGINT)


class CommandService(Daemon):
    """A daemon that owns its process.

    SIGTERM and SIGINT end it (status 0), the second one at once; SIGHUP reloads. What cannot be
    served is one line and status 1.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ending = False
        self._scavenger = Scavenger(lambda: self.engine.metrics.started, give_back, self.reactor)
        self._orphans = self._make_orphans()
        self.ended.addCallbacks(lambda _: self._stop_reactor(), self._failed)

    def privilegedStartService(self) -> None:
        """Open the ports, or exit with one line."""
        self._handle_signals()
        if self.settings.raise_priority:
            raise_priority()
        try:
            super().privilegedStartService()
        except EngineError as error:
            # Of all ways out only this gives one line and status 1 in twistd.
            sys.exit(error.message)

    def startService(self) -> None:
        """Start, and take the signals again once the reactor has installed its own handlers."""
        super().startService()
        self.reactor.callWhenRunning(self._handle_signals)
        _spare_the_collector()
        self._scavenger.start()
        if self._orphans is not None:
            self._orphans.adopt()

    def stopService(self) -> Deferred[None]:
        """End, see `Daemon`."""
        self._scavenger.stop()
        if self._orphans is not None:
            self._orphans.stop()
        return super().stopService()

    def _handle_signals(self) -> None:
        for number in _ENDING:
            signal.signal(number, self._on_end)
        signal.signal(signal.SIGHUP, self._on_reload)
        if self._orphans is not None:
            # In the place of the reactor's, which does nothing: what it does comes by descriptor.
            signal.signal(signal.SIGCHLD, self._on_end_of_child)
            signal.siginterrupt(signal.SIGCHLD, False)

    def _make_orphans(self) -> Orphans | None:
        """Return what reaps the orphans that runtimes leave, where there are some."""
        if self.settings.engine != "embedded":
            return None
        from dockerapi.local.host.children import Orphans

        return Orphans(self.reactor)

    def _on_end(self, number: int, frame: FrameType | None) -> None:
        if self._ending:
            os._exit(128 + number)
        self._ending = True
        self.reactor.callFromThread(self._end_by_signal, number)

    def _on_reload(self, number: int, frame: FrameType | None) -> None:
        self.reactor.callFromThread(self.reload)

    def _on_end_of_child(self, number: int, frame: FrameType | None) -> None:
        if self._orphans is not None:
            self.reactor.callFromThread(self._orphans.reap)

    def _end_by_signal(self, number: int) -> None:
        self.log.info("received {name}, shutting down", name=signal.Signals(number).name)
        self._stop_reactor()

    def _failed(self, failure: Failure) -> None:
        self.log.error("{error}", error=failure.getErrorMessage())
        _exit_with_failure()
        self._stop_reactor()

    def _stop_reactor(self) -> None:
        self._ending = True
        if self.reactor.running:
            self.reactor.stop()


def _spare_the_collector() -> None:
    """Have the garbage collector pass over what lives as long as the process, and come less often.

    A request makes no cycles; looking for them takes a sixth of the time of small answers. A start
    makes some, of netlink messages.
    """
    give_back()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


def _exit_with_failure() -> None:
    """Have the process end with status 1: twistd itself ends with 0 whatever its services say.

    The last handlers run first, so that this one, which does not return, should be the first to be
    registered; those before it belong to modules that were imported earlier and only free memory.
    """

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(1)

    atexit.register(leave)
