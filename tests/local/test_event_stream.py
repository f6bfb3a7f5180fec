"""Events as a client reads them: the past, then live, until the end."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections import deque

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.answers import Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.events import Event
from dockerapi.local.event_stream import EventStreams
from dockerapi.local.journal import Recent
from dockerapi.model.envelope import Envelope
from tests.serving import serve


class RecordingSink:
    """Keeps what is written; `stall` makes writes wait."""

    def __init__(self) -> None:
        self.data = b""
        self.stall: Deferred[None] | None = None

    async def write(self, data: bytes) -> None:
        self.data += data
        if self.stall is not None:
            await self.stall

    async def close_write(self) -> None:
        raise AssertionError("the API ends the stream, not the handler")

    def abort(self, reason: str) -> None:
        raise AssertionError(reason)

    @property
    def actions(self) -> list[str]:
        return [json.loads(line)["Action"] for line in self.data.splitlines()]


class EventStreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine()
        self.engine.activation.activate()
        self.clock = Clock()
        bus = self.engine.events
        streams = EventStreams(bus, Recent(bus), self.clock)
        self.engine.register("SystemEvents", streams.events, follows=True)

    def publish(self, action: str) -> None:
        self.engine.events.publish(Event("container", action, "ab" * 32))

    def follow(self, query: str = "") -> tuple[RecordingSink, Deferred[None]]:
        answer = self.answer(query)
        sink = RecordingSink()
        return sink, serve(answer, sink)

    def answer(self, query: str = "") -> Stream:
        envelope = Envelope(path="/events", query=query)
        answer = self.successResultOf(self.engine.job("SystemEvents", envelope=envelope).run())
        assert isinstance(answer, Stream)
        return answer

    def test_live_events_only_from_now_on(self) -> None:
        self.publish("past")
        sink, served = self.follow()
        self.publish("one")
        self.publish("two")
        self.assertEqual(sink.actions, ["one", "two"])
        self.assertNoResult(served)
        self.engine.events.close()
        self.successResultOf(served)

    def test_the_past_first_when_asked_for(self) -> None:
        self.publish("past")
        sink, _ = self.follow("since=1")
        self.publish("live")
        self.assertEqual(sink.actions, ["past", "live"])

    def test_an_end_alone_asks_for_the_past_too(self) -> None:
        self.publish("past")
        sink, served = self.follow(f"until={time.time() + 1:.3f}")
        self.publish("live")
        self.assertEqual(sink.actions, ["past", "live"])
        self.clock.advance(1.1)
        self.successResultOf(served)
        sink, served = self.follow("until=2")
        self.successResultOf(served)
        self.assertEqual(sink.actions, [])

    def test_an_end_in_the_past_ends_at_once(self) -> None:
        self.publish("past")
        sink, served = self.follow(f"since=1&until={time.time() + 1:.3f}")
        self.assertNoResult(served)
        self.clock.advance(1.1)
        self.successResultOf(served)
        sink, served = self.follow("since=1&until=2")
        self.successResultOf(served)
        self.assertEqual(sink.actions, [])

    def test_what_happens_between_head_and_stream_is_told(self) -> None:
        answer = self.answer()
        self.publish("between")
        sink = RecordingSink()
        served = serve(answer, sink)
        self.publish("live")
        self.assertEqual(sink.actions, ["between", "live"])
        served.cancel()
        self.failureResultOf(served)

    def test_a_stream_that_is_never_served_leaves_nothing(self) -> None:
        self.answer()
        self.assertEqual(self.engine.events.listeners, 0)

    def test_what_came_in_time_is_told_though_the_past_took_longer(self) -> None:
        self.publish("past")
        sink = RecordingSink()
        stall = sink.stall = Deferred()
        served = serve(self.answer(f"since=1&until={time.time() + 0.05:.3f}"), sink)
        self.publish("in time")
        time.sleep(0.06)
        self.publish("too late")
        sink.stall = None
        stall.callback(None)
        self.successResultOf(served)
        self.assertEqual(sink.actions, ["past", "in time"])

    def test_what_was_begun_in_time_is_told_though_its_change_took_longer(self) -> None:
        bus = self.engine.events
        sink, served = self.follow(f"until={time.time() + 1:.3f}")
        reserved = bus.reserve([Event("container", "begun", "ab" * 32)])
        self.clock.advance(1.1)
        self.assertNoResult(served)
        bus.settle(reserved, happened=True)
        self.successResultOf(served)
        self.assertEqual(sink.actions, ["begun"])

    def test_leaving_forgets_the_subscription(self) -> None:
        _, served = self.follow()
        self.assertEqual(self.engine.events.listeners, 1)
        served.cancel()
        self.failureResultOf(served)
        self.assertEqual(self.engine.events.listeners, 0)
        self.assertEqual(self.engine.running, ())

    def stalled(self) -> tuple[RecordingSink, Deferred[None]]:
        sink = RecordingSink()
        sink.stall = Deferred()
        served = serve(self.answer(), sink)
        return sink, served

    def test_a_stalled_reader_goes_on_from_the_history(self) -> None:
        bus = self.engine.events
        bus.recent = deque(maxlen=8192)
        sink, served = self.stalled()
        for number in range(5000):
            self.publish(str(number))
        self.assertEqual(len(sink.actions), 1)
        self.assertNoResult(served)
        stall, sink.stall = sink.stall, None
        assert stall is not None
        stall.callback(None)
        self.publish("live")
        self.assertEqual(sink.actions, [*map(str, range(5000)), "live"])

    def test_a_reader_that_stalled_too_long_loses_its_place_not_our_memory(self) -> None:
        sink, served = self.stalled()
        tracemalloc.start()
        for number in range(5000):
            self.publish(str(number))
        before, _ = tracemalloc.get_traced_memory()
        for number in range(50_000):
            self.publish(str(number))
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(after - before, 100_000)
        self.assertEqual(len(sink.actions), 1)
        assert sink.stall is not None
        sink.stall.callback(None)
        error = self.failureResultOf(served).value
        self.assertIn("too far behind", str(error))
        self.assertEqual(self.engine.events.listeners, 0)
