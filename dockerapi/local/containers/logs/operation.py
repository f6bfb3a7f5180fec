"""The operation ContainerLogs, and the logs of containers for whoever else reads them.

Rule: the disk is read in threads, a bounded piece at a time, as fast as the client takes it; a
client that stalls holds a descriptor, and nothing else waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError, NotSupported
from dockerapi.engine.job import Job
from dockerapi.local.containers.container import Container, Exit
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.life.settling import first_words
from dockerapi.local.containers.life.transitions import Operation, check
from dockerapi.local.containers.logs.drivers.feeds import Feeds
from dockerapi.local.containers.logs.drivers.message import Driver
from dockerapi.local.containers.logs.options import can_be_read, details, make_driver, policy_of
from dockerapi.local.containers.logs.spool.changes import Changes, give_up
from dockerapi.local.containers.logs.spool.files import Cursor, LogFiles
from dockerapi.local.containers.logs.spool.reader import SpoolReader
from dockerapi.local.containers.logs.spool.render import Renderer, View
from dockerapi.local.containers.logs.spool.rotation import Policy, Rotation
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.conmon import Watch
from dockerapi.local.host.threads import finished, in_thread
from dockerapi.model.streams import LogsRequest, stream_type
from dockerapi.wire.duplex import Sink

#: How much of a log is read at once, in bytes.
PIECE = 128 * 1024
#: How long a follower waits for word of a change before it looks itself, in seconds.
LOOK = 5.0


class ContainerLogs(Observer):
    """Reads the logs of containers, and has them rotated, and sent elsewhere."""

    log = Logger()

    def __init__(
        self, registry: Registry, log_path: Callable[[Container], Path], clock: IReactorTime
    ) -> None:
        self._registry = registry
        self._log_path = log_path
        self._clock = clock
        self._changes = Changes(clock)
        self._rotation = Rotation(self._changes, clock)
        self._feeds = Feeds(self._changes, clock)
        self._ends = Ends()

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("ContainerLogs", self.logs, follows=True)

    def stop(self) -> None:
        """Watch no more."""
        self._feeds.stop()
        self._rotation.stop()
        self._changes.stop()

    def before_start(self, container: Container, watch: Watch) -> None:
        """Look after the log of a container that `watch` monitors from now on.

        Raises `EngineError` in dockerd's words for options that cannot be.
        """
        try:
            policy = policy_of(container.host_config.log_config)
            details(container)
            driver = make_driver(container, self._clock)
        except EngineError as error:
            raise EngineError(
                "failed to create task for container: "
                f"failed to initialize logging driver: {error.message}"
            ) from error
        self._look_after(container, watch, policy, driver)

    def take_up(self, container: Container, watch: Watch) -> None:
        """Look after the log of a container that an earlier server started, running or not."""
        driver = None
        try:
            policy = policy_of(container.host_config.log_config)
            driver = make_driver(container, self._clock)
        except EngineError as error:
            self.log.warn(
                "the log of {id} is not sent: {error}", id=container.id, error=error.message
            )
            policy = Policy()
        if container.state.running:
            self._look_after(container, watch, policy, driver)
        elif driver is not None and watch.log is not None:
            self._feeds.start(container, LogFiles(watch.log), driver)
            self._feeds.end(container)

    def ended(self, container: Container) -> None:
        """Rotate the log of a container no more: it has ended, or failed to start."""
        self._rotation.end(container)
        self._feeds.end(container)

    async def logs(self, job: Job) -> Answer:
        """Answer ContainerLogs; raises `NotSupported` for a container without a log."""
        request = await job.request(LogsRequest)
        container = self._registry.get(request.container)
        check(Operation.LOGS, container)
        if not can_be_read(container.host_config.log_config):
            raise NotSupported("configured logging driver does not support reading")
        policy_of(container.host_config.log_config)
        framed = not container.config.tty
        view = View(
            request.outputs,
            framed,
            request.timestamps,
            details(container) if request.details else None,
            request.since,
            request.until,
        )
        if not request.follow:
            await first_words(container, self._clock)
        follow = request.follow and container.state.running

        async def serve(sink: Sink) -> None:
            with self._following(container, follow=follow) as following:
                await self._send(following, view, sink, tail=request.tail)

        return Stream(serve, stream_type(request.version, framed=framed))

    async def send_past(
        self, container: Container, outputs: frozenset[int], sink: Sink, *, framed: bool
    ) -> None:
        """Send what `container` has written so far to `sink`, as it was written."""
        with self._following(container, follow=False) as following:
            await self._send(following, View(outputs, framed, gather=False), sink)

    async def follow_all(
        self, container: Container, outputs: frozenset[int], sink: Sink, *, framed: bool
    ) -> None:
        """Send what `container` has written and goes on to write to `sink`, as it was written.

        Returns when it ends, or is removed; one that does not run is waited for.
        """
        with self._following(container, follow=True) as following:
            await self._send(following, View(outputs, framed, gather=False), sink)

    def _look_after(
        self, container: Container, watch: Watch, policy: Policy, driver: Driver | None
    ) -> None:
        if watch.log is None:
            return
        files = LogFiles(watch.log)
        self._rotation.start(container, files, watch.control_pipe, policy)
        if driver is not None:
            self._feeds.start(container, files, driver)

    def _following(self, container: Container, *, follow: bool) -> Following:
        return Following(
            container,
            LogFiles(self._log_path(container)),
            self._changes,
            self._ends,
            follow=follow,
        )

    async def _send(
        self, following: Following, view: View, sink: Sink, *, tail: int | None = None
    ) -> None:
        files = following.files
        renderer = Renderer(view)
        if not following.follow:
            # Who does not follow gets what is there now, and nothing that is written meanwhile.
            following.end = await in_thread(files.end)
        # Who is cancelled waits for the thread that reads, which else opens more after `close`.
        with await in_thread(SpoolReader, files) as reader:
            if tail is not None:
                last = following.end
                if last is None:
                    last = await in_thread(files.end)
                await finished(in_thread(reader.seek_tail, tail, last))
            await finished(in_thread(reader.hold))
            while not renderer.past_end:
                # Where it ended is asked before reading: what it wrote last is read after.
                end = following.end
                piece = await finished(in_thread(reader.read, PIECE, end))
                if piece:
                    if shown := renderer.feed(piece):
                        await sink.write(shown)
                elif end is None and not _past(view.until):
                    await self._change(following, reader, view.until)
                else:
                    break
            if shown := renderer.finish():
                await sink.write(shown)

    async def _change(self, following: Following, reader: SpoolReader, until: int | None) -> None:
        """Return when there may be more to read, the container has ended, or it is `until`."""
        wait = LOOK
        if until is not None:
            wait = min(wait, max(0.0, (until - time.time_ns()) / 1e9))
        change = self._changes.next(following.files.path, wait)
        try:
            # What was written between the last look and the watch tells nobody.
            if following.end is None and not reader.more():
                await change
        finally:
            give_up(change)


class Ends:
    """Where a log ended, looked up once for all who follow it."""

    def __init__(self) -> None:
        self._last: tuple[Exit, Cursor] | None = None

    def at(self, exit: Exit, files: LogFiles) -> Cursor:
        """Return where the log `files` of a container ends that has just ended by `exit`."""
        if self._last is None or self._last[0] is not exit:
            # In the reactor's thread: later there may be something of the container's next run.
            self._last = exit, files.end()
        return self._last[1]


class Following:
    """One reading of a container's log, and where it ends; a context manager.

    :ivar files: the log.
    :ivar follow: whether it goes on with what is written meanwhile.
    :ivar end: where the reading ends; None while the container may go on.
    """

    def __init__(
        self,
        container: Container,
        files: LogFiles,
        changes: Changes,
        ends: Ends,
        *,
        follow: bool,
    ) -> None:
        self.files = files
        self.end: Cursor | None = None
        self._container = container
        self._changes = changes
        self._ends = ends
        self.follow = follow
        self._exit: Deferred[None] | None = None

    def __enter__(self) -> Self:
        if self.follow:
            self._exit = self._container.next_exit().addCallback(self._ended)
        return self

    def __exit__(self, *_: object) -> None:
        exit, self._exit = self._exit, None
        if exit is not None:
            give_up(exit)

    def _ended(self, exit: Exit) -> None:
        self.end, self._exit = self._ends.at(exit, self.files), None
        self._changes.tell(self.files.path)


def _past(moment: int | None) -> bool:
    """Tell whether `moment`, in nanoseconds since 1970, is over; False for None."""
    return moment is not None and time.time_ns() >= moment
