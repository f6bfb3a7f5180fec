"""Streams over pipes of the server's own."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from dockerapi.local.containers.streams.pipes import PipeStreams
from dockerapi.local.host.threads import in_thread
from dockerapi.wire.duplex import StreamAborted
from tests.local.containers.streams.support import until


class PipeTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.got: dict[int, bytes] = {1: b"", 2: b""}
        self.ended = 0
        self.out, self.err, self.stdin = self.pipe(), self.pipe(), self.pipe()
        for end in (self.out[0], self.err[0], self.stdin[1]):
            os.set_blocking(end, False)
        self.streams = PipeStreams(
            {1: self.out[0], 2: self.err[0]}, self.stdin[1], reactor, self.output, self.end
        )
        self.addCleanup(self.streams.close)
        #: The process' ends.
        self.theirs = {self.out[1], self.err[1], self.stdin[0]}
        self.addCleanup(self.close_theirs)

    def close_theirs(self) -> None:
        for end in self.theirs:
            os.close(end)

    def pipe(self) -> tuple[int, int]:
        return os.pipe2(os.O_CLOEXEC)

    def let_go(self, end: int) -> None:
        self.theirs.discard(end)
        os.close(end)

    def output(self, pieces: list[tuple[int, bytes]]) -> None:
        for stream, data in pieces:
            self.got[stream] += data

    def end(self) -> None:
        self.ended += 1

    async def test_all_comes_before_the_end_which_is_that_of_both(self) -> None:
        data = os.urandom(1 << 20)

        def write() -> None:
            with open(self.out[1], "wb", closefd=False) as file:
                file.write(data)

        await in_thread(write)
        self.let_go(self.out[1])
        os.write(self.err[1], b"err")
        await until(lambda: len(self.got[1]) == len(data) and bool(self.got[2]))
        self.assertEqual(self.got, {1: data, 2: b"err"})
        self.assertEqual(self.ended, 0)
        os.write(self.err[1], b"or")
        self.let_go(self.err[1])
        await until(lambda: self.ended == 1)
        self.assertEqual(self.got[2], b"error")

    async def test_what_is_paused_is_left_in_the_pipe(self) -> None:
        self.streams.pause()
        os.write(self.out[1], b"waits")
        self.let_go(self.out[1])
        self.let_go(self.err[1])
        await in_thread(int)
        self.assertEqual((self.got[1], self.ended), (b"", 0))
        self.streams.resume()
        await until(lambda: self.ended == 1)
        self.assertEqual(self.got[1], b"waits")

    async def test_input_waits_for_room_and_comes_whole_and_in_order(self) -> None:
        first, second = os.urandom(300_000), os.urandom(300_000)
        sending = [Deferred.fromCoroutine(self.streams.send(data)) for data in (first, second)]
        self.assertFalse(sending[0].called)

        def read() -> bytes:
            with open(self.stdin[0], "rb", closefd=False) as file:
                return file.read(600_000)

        self.assertEqual(await in_thread(read), first + second)
        for each in sending:
            await each
        self.streams.end_input()
        self.assertEqual(os.read(self.stdin[0], 1), b"")

    async def test_input_that_nobody_takes_any_more(self) -> None:
        waiting = Deferred.fromCoroutine(self.streams.send(bytes(1 << 20)))
        self.let_go(self.stdin[0])
        await self.assertFailure(waiting, StreamAborted)
        await self.assertFailure(Deferred.fromCoroutine(self.streams.send(b"x")), StreamAborted)

    async def test_who_waits_is_told_of_the_end(self) -> None:
        waiting = Deferred.fromCoroutine(self.streams.send(bytes(1 << 20)))
        self.streams.close()
        await self.assertFailure(waiting, StreamAborted)
        self.assertEqual(self.ended, 0)
