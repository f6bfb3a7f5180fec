"""The operation SystemEvents on the embedded engine: the recent past, then what happens.

Rule: a reader that stalls loses its place at the bus; nothing waits for it.
"""

from __future__ import annotations

import time

from twisted.internet.interfaces import IReactorTime

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.events import EventBus, Subscription
from dockerapi.engine.job import Job
from dockerapi.model.events import EventsRequest
from dockerapi.model.timestamps import NANOSECONDS
from dockerapi.wire.duplex import Sink


class EventStreams:
    """Serves the events of one bus."""

    def __init__(self, bus: EventBus, clock: IReactorTime) -> None:
        self._bus = bus
        self._clock = clock

    async def events(self, job: Job) -> Answer:
        """Answer SystemEvents: JSON lines, from `since` (or now) to `until` (or no end)."""
        request = await job.request(EventsRequest)
        # Listening begins before the head is sent, so that a client that has the head misses
        # nothing of what it does next.
        subscription = self._bus.subscribe(request.wants)
        past = [] if request.since is None else self._past(request)

        async def serve(sink: Sink) -> None:
            try:
                if past:
                    await sink.write(b"".join(past))
                await self._follow(request, subscription, sink)
            finally:
                subscription.close()

        return Stream(serve, request.content_type)

    def _past(self, request: EventsRequest) -> list[bytes]:
        since = request.since or 0
        return [
            request.encode(event)
            for event in self._bus.recent
            if event.time_ns >= since and request.wants(event)
        ]

    async def _follow(self, request: EventsRequest, subscription: Subscription, sink: Sink) -> None:
        alarm = None
        if request.until is not None:
            left = (request.until - time.time_ns()) / NANOSECONDS
            if left <= 0:
                return
            alarm = self._clock.callLater(left, subscription.close)
        try:
            while (event := await subscription.next()) is not None:
                await sink.write(request.encode(event))
        finally:
            if alarm is not None and alarm.active():
                alarm.cancel()
