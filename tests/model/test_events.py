"""Which events a request wants, and how they are written."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.events import Event
from dockerapi.model.envelope import Envelope
from dockerapi.model.events import EventsRequest
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import Version

START = Event(
    "container",
    "start",
    "ab" * 32,
    {"image": "busybox:latest", "name": "c1", "l": "v"},
    1795550361_697655600,
)
TAG = Event("image", "tag", "sha256:" + "cd" * 32, {"name": "other/name:t1"}, 1795550361_000000000)
EXEC = Event("container", "exec_start: sh -c x", "ab" * 32, {"name": "c1", "image": "busybox"})
OLDER = Version(1, 50)


class EventsRequestTests(SynchronousTestCase):
    def request(
        self, query: str = "", version: Version = OLDER, accept: bytes = b""
    ) -> EventsRequest:
        envelope = Envelope(path="/events", query=query, headers=[(b"Accept", accept)])
        result: list[EventsRequest] = []
        decoding = Deferred.fromCoroutine(EventsRequest.decode(envelope, (), version))
        decoding.addCallback(result.append)
        failure = self.failureResultOf(decoding) if not result else None
        if failure is not None:
            failure.raiseException()
        return result[0]

    def filtered(self, **filters: list[str]) -> EventsRequest:
        return self.request("filters=" + json.dumps(filters))

    def test_reads_times_as_nanoseconds(self) -> None:
        request = self.request("since=1795550361.5&until=1795550362")
        self.assertEqual(request.since, 1795550361_500000000)
        self.assertEqual(request.until, 1795550362_000000000)

    def test_refuses_bad_times_and_filters(self) -> None:
        for query in ("since=x", "until=1.x", "since=1.1234567890", 'filters={"type":1}'):
            with self.assertRaises(Malformed, msg=query):
                self.request(query)

    def test_refuses_an_end_before_the_beginning(self) -> None:
        error = self.assertRaises(Malformed, self.request, "since=5&until=2.5")
        self.assertEqual(error.message, "`since` time (5) cannot be after `until` time (2.5)")
        self.request("since=2&until=2")

    def test_filters_by_each_kind(self) -> None:
        for filters, events in [
            ({"type": ["image"]}, [TAG]),
            ({"event": ["exec_start"]}, [EXEC]),
            ({"event": ["start", "tag"]}, [START, TAG]),
            ({"container": ["c1"]}, [START, EXEC]),
            ({"container": ["abab"]}, [START, EXEC]),
            ({"container": ["else"]}, []),
            ({"label": ["l=v"]}, [START]),
            ({"label": ["l=w"]}, []),
            ({"container": ["c"]}, [START, EXEC]),
            ({"network": ["c1"]}, [START, EXEC]),
            ({"daemon": ["x"]}, []),
            ({"config": ["x"]}, []),
            ({"event": ["exec_start: sh"]}, []),
            ({"event": ["exec_start: sh -c x"]}, [EXEC]),
            ({"event": ["sta"]}, []),
            ({"event": ["sta", "exec_create"]}, [START]),
            ({"image": ["busybox"]}, [START, EXEC]),
            ({"image": ["busybox:latest"]}, [START]),
            ({"image": ["sha256:" + "cd" * 32]}, [TAG]),
            ({"image": ["other/name"]}, [TAG]),
            ({"scope": ["swarm"]}, []),
            ({"unknown": ["x"]}, [START, TAG, EXEC]),
        ]:
            request = self.filtered(**filters)
            wanted = [event for event in (START, TAG, EXEC) if request.wants(event)]
            self.assertEqual(wanted, events, filters)

    def test_older_versions_have_three_members_more(self) -> None:
        old = json.loads(self.request().encode(START))
        self.assertEqual(
            (old["status"], old["id"], old["from"]), ("start", "ab" * 32, "busybox:latest")
        )
        new = json.loads(self.request(version=Version(1, 52)).encode(START))
        self.assertEqual(set(old) - set(new), {"status", "id", "from"})
        self.assertEqual(new["timeNano"], START.time_ns)
        self.assertEqual(new["time"], START.time_ns // 10**9)

    def test_what_an_event_has_not_is_left_out(self) -> None:
        told = json.loads(self.request().encode(Event("container", "prune", "", {}, 5)))
        self.assertEqual(told["status"], "prune")
        self.assertNotIn("id", told)
        self.assertNotIn("from", told)

    def test_the_content_type_is_negotiated(self) -> None:
        self.assertEqual(self.request().content_type, "application/json")
        self.assertEqual(self.request(version=Version(1, 52)).content_type, "application/jsonl")
        sequence = self.request(accept=b"text/html, application/json-seq;q=0.5")
        self.assertEqual(sequence.content_type, "application/json-seq")
        self.assertTrue(sequence.encode(START).startswith(b"\x1e{"))
