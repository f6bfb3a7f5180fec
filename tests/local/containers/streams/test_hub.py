"""Shared streams: what clients get of a process that has ended, however late they take it."""

from __future__ import annotations

import os
from functools import partial

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from dockerapi.local.containers.streams.hub import WAITING, Hub
from dockerapi.local.containers.streams.pipes import PipeStreams


class FinishTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.hub = Hub(reactor)
        self.addCleanup(self.hub.close)
        self.follower = self.hub.follow((1,), framed=False)
        #: The process' ends: what it started has them, too, so that they stay open.
        self.out, self.err = self.pipe(), self.pipe()
        self.hub.join(partial(PipeStreams, {1: self.out[0], 2: self.err[0]}, None))

    def pipe(self) -> tuple[int, int]:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        self.addCleanup(os.close, writing)
        return reading, writing

    async def test_what_has_come_is_passed_on(self) -> None:
        """The reactor has had no turn to read since it was written, or could be read again."""
        os.write(self.out[1], b"last words")
        self.hub.finish()
        self.assertEqual(await self.follower.next(), b"last words")
        self.assertEqual(await self.follower.next(), b"")
        self.assertFalse(self.hub.connected)

    async def test_a_slow_client_gets_all(self) -> None:
        connection = self.hub._connection
        assert connection is not None
        written = 0
        while not self.follower.full:
            written += os.write(self.out[1], bytes(32768))
            connection.read()
        written += os.write(self.out[1], b"waits")
        self.hub.finish()
        self.assertTrue(self.hub.connected)
        taken = len(await self.follower.next())
        self.assertLess(taken, WAITING)
        # Before the reactor reads on.
        self.hub.finish()
        self.assertFalse(self.hub.connected)
        while data := await self.follower.next():
            taken += len(data)
        self.assertEqual(taken, written)
