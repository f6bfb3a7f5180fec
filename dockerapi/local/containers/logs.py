"""The operation ContainerLogs: the log that conmon writes, read with a cursor.

Rule: the disk is read in threads, a bounded piece at a time, as fast as the client takes it; a
client that stalls holds a descriptor, and nothing else waits for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.inotify import IN_MODIFY, INotify
from twisted.internet.interfaces import IReactorTime
from twisted.python.filepath import FilePath

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import NotSupported
from dockerapi.engine.job import Job
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.k8slog import Renderer, View, count_back
from dockerapi.local.containers.registry import Registry
from dockerapi.local.host.threads import in_thread
from dockerapi.model.streams import LogsRequest, stream_type
from dockerapi.wire.duplex import Sink

#: How much of a log is read at once, in bytes.
PIECE = 128 * 1024
#: How long a follower waits for word of a change before it looks itself, in seconds.
LOOK = 5.0


class Changes:
    """Tells of changes of files, by inotify; one descriptor for all."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._notifier: INotify | None = None
        self._waiting: dict[Path, list[Deferred[None]]] = {}

    def next(self, path: Path) -> Deferred[None]:
        """Return a Deferred that fires when the file at `path` next changes, or after `LOOK`."""
        if self._notifier is None:
            self._notifier = INotify()
            self._notifier.startReading()
        waiters = self._waiting.get(path)
        if waiters is None:
            waiters = self._waiting[path] = []
            self._notifier.watch(
                FilePath(str(path)), IN_MODIFY, callbacks=[lambda *_: self._fire(path)]
            )
        waiter: Deferred[None] = Deferred(lambda _: self._leave(path, waiter))
        waiters.append(waiter)
        waiter.addTimeout(LOOK, self._clock, onTimeoutCancel=lambda _, __: None)
        return waiter

    def stop(self) -> None:
        """Watch no more."""
        if self._notifier is not None:
            self._notifier.loseConnection()
            self._notifier = None

    def _fire(self, path: Path) -> None:
        waiters = self._waiting.pop(path, [])
        self._ignore(path)
        for waiter in waiters:
            waiter.callback(None)

    def _leave(self, path: Path, waiter: Deferred[None]) -> None:
        waiters = self._waiting.get(path, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters and self._waiting.pop(path, None) is not None:
            self._ignore(path)

    def _ignore(self, path: Path) -> None:
        if self._notifier is not None and path not in self._waiting:
            try:
                self._notifier.ignore(FilePath(str(path)))
            except KeyError:
                # The file is gone, and the watch with it.
                return


class LogReader:
    """Reads the logs of containers."""

    def __init__(
        self, registry: Registry, log_path: Callable[[Container], Path], clock: IReactorTime
    ) -> None:
        self._registry = registry
        self._log_path = log_path
        self._changes = Changes(clock)
        self._clock = clock

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("ContainerLogs", self.logs, follows=True)

    def stop(self) -> None:
        """Watch no more."""
        self._changes.stop()

    async def logs(self, job: Job) -> Answer:
        """Answer ContainerLogs; raises `NotSupported` for a container without a log."""
        request = await job.request(LogsRequest)
        container = self._registry.get(request.container)
        if container.host_config.log_config.type == "none":
            raise NotSupported("configured logging driver does not support reading")
        framed = not container.config.tty
        view = View(
            request.outputs,
            framed,
            request.timestamps,
            request.details,
            request.since,
            request.until,
        )
        follow = request.follow and container.state.running

        async def serve(sink: Sink) -> None:
            await self._send(container, view, sink, tail=request.tail, follow=follow)

        return Stream(serve, stream_type(request.version, framed=framed))

    async def send_past(
        self, container: Container, outputs: frozenset[int], sink: Sink, *, framed: bool
    ) -> None:
        """Send what `container` has written so far to `sink`."""
        await self._send(container, View(outputs, framed), sink, tail=None, follow=False)

    async def _send(
        self, container: Container, view: View, sink: Sink, *, tail: int | None, follow: bool
    ) -> None:
        path = self._log_path(container)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # A container that never ran has written nothing.
            return
        with ExitStack() as stack:
            stack.callback(os.close, descriptor)
            # Who does not follow gets what is there now, and nothing that is written meanwhile.
            end = os.fstat(descriptor).st_size
            offset = 0 if tail is None else await in_thread(tail_offset, descriptor, tail, end)
            renderer = Renderer(view)
            while not renderer.past_end:
                # Whether it runs is asked before reading: what it wrote last is read after.
                runs = container.state.running
                size = PIECE if follow else min(PIECE, end - offset)
                piece = await in_thread(os.pread, descriptor, size, offset)
                offset += len(piece)
                if piece:
                    if shown := renderer.feed(piece):
                        await sink.write(shown)
                elif follow and runs and not _past(view.until):
                    await self._change(container, path, descriptor, offset, view.until)
                else:
                    return

    async def _change(
        self, container: Container, path: Path, descriptor: int, offset: int, until: int | None
    ) -> None:
        """Return when there may be more to read, the container has ended, or it is `until`."""
        change, end = self._changes.next(path), container.next_exit()
        if until is not None:
            left = max(0.0, (until - time.time_ns()) / 1e9)
            change.addTimeout(left, self._clock, onTimeoutCancel=lambda _, __: None)
        either: Deferred[None] = Deferred()

        def done(_: object) -> None:
            if not either.called:
                either.callback(None)

        change.addBoth(done)
        end.addBoth(done)
        try:
            # What was written between the last look and the watch tells nobody.
            if os.fstat(descriptor).st_size <= offset and container.state.running:
                await either
        finally:
            change.cancel()
            end.cancel()


def _past(moment: int | None) -> bool:
    """Tell whether `moment`, in nanoseconds since 1970, is over; False for None."""
    return moment is not None and time.time_ns() >= moment


def tail_offset(descriptor: int, lines: int, end: int) -> int:
    """Return where the last `lines` lines before `end` begin, in bytes; reads from there back."""
    if lines == 0:
        return end
    rest, at_end = b"", True
    while end > 0:
        start = max(0, end - PIECE)
        block = os.pread(descriptor, end - start, start) + rest
        # The block's first line may begin before it: it waits for the next turn.
        first = 0 if start == 0 else block.find(b"\n") + 1 or len(block)
        offset, lines = count_back(block[first:], lines, at_end=at_end)
        if offset is not None:
            return start + first + offset
        rest, at_end = block[:first], at_end and first == len(block)
        end = start
    return 0
