"""The operation SystemEvents on the embedded engine: the past that is kept, then what happens.

Rule: nothing waits for a reader; one that stalled goes on from the history where that reaches
back far enough, without a gap and without a repetition.
"""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.errors import Unavailable
from dockerapi.engine.events import EventBus, FellBehind, Subscription
from dockerapi.engine.job import Job
from dockerapi.local.journal import History
from dockerapi.model.events import EventsRequest
from dockerapi.model.timestamps import NANOSECONDS
from dockerapi.wire.duplex import Sink


class EventStreams:
    """Serves the events of one bus and its history."""

    def __init__(self, bus: EventBus, history: History, clock: IReactorTime) -> None:
        self._bus = bus
        self._history = history
        self._clock = clock

    async def events(self, job: Job) -> Answer:
        """Answer SystemEvents: JSON lines, from `since` (or now) to `until` (or no end).

        `until` alone asks for all of the past too, as in dockerd.
        """
        request = await job.request(EventsRequest)
        # A client that has the head misses nothing of what it does next. Listening itself waits for
        # the stream: one whose client left before is never served.
        begin = self._bus.told if request.since is None and request.until is None else 0

        async def serve(sink: Sink) -> None:
            subscription = self._bus.subscribe(request.wants)
            last = self._bus.told
            try:
                await self._send_past(request, sink, begin, last)
                await self._follow(request, subscription, sink, last)
            finally:
                subscription.close()

        return Stream(serve, request.content_type)

    async def _send_past(self, request: EventsRequest, sink: Sink, after: int, last: int) -> None:
        """Send what is wanted of the events past `after` up to `last`, a page at a time."""
        while after < last:
            page = await self._history.page(after, last, request.since or 0)
            if not page:
                return
            lines = [request.encode(event) for event in page if request.wants(event)]
            if lines:
                await sink.write(b"".join(lines))
            after = page[-1].number

    async def _follow(
        self, request: EventsRequest, subscription: Subscription, sink: Sink, position: int
    ) -> None:
        """Send what happens after the event number `position`."""
        alarm = None
        if request.until is not None:
            # What happened in time is told, though its change be stored, or the past sent, later.
            left = (request.until - time.time_ns()) / NANOSECONDS
            if left > 0:
                alarm = self._clock.callLater(left, subscription.finish)
            else:
                subscription.finish()
        try:
            while True:
                try:
                    event = await subscription.next()
                except FellBehind:
                    position = await self._catch_up(request, subscription, sink, position)
                    continue
                if event is None:
                    return
                await sink.write(request.encode(event))
                position = event.number
        finally:
            if alarm is not None and alarm.active():
                alarm.cancel()

    async def _catch_up(
        self, request: EventsRequest, subscription: Subscription, sink: Sink, position: int
    ) -> int:
        """Send what a reader missed; return the number after which the subscription goes on."""
        if not self._history.reaches(position):
            raise Unavailable("this listener fell too far behind the events")
        last = subscription.rejoin()
        await self._send_past(request, sink, position, last)
        return last
