"""The buffer between a connection and its reader."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.http.body import Inbox
from tests.http.support import Connection, start


class InboxTests(SynchronousTestCase):
    def test_only_one_reader(self) -> None:
        connection = Connection()
        inbox = Inbox(connection.channel, 10)
        first = start(inbox.read())
        self.failureResultOf(start(inbox.read()), RuntimeError)
        inbox.push(b"a", last=True)
        self.assertEqual(self.successResultOf(first), b"a")
        self.assertEqual(self.successResultOf(start(inbox.read())), b"")

    def test_a_reader_that_takes_all_makes_room_before_its_client_is_stopped(self) -> None:
        feeder = Feeder()
        inbox = Inbox(feeder, 10)
        read = start(inbox.read(1000))
        inbox.push(b"a" * 100)
        self.assertEqual(self.successResultOf(read), b"a" * 100)
        self.assertNotIn("full", feeder.calls)
        inbox.push(b"a" * 10)
        self.assertEqual(feeder.calls[-1], "full")


class Feeder:
    """Notes what an inbox asks for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def inbox_full(self) -> None:
        self.calls.append("full")

    def inbox_wanted(self) -> None:
        self.calls.append("wanted")

    def inbox_dropped(self, reason: str) -> None:
        self.calls.append("dropped")
