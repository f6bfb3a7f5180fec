"""The backend's start: waiting for the upstream, and learning what it is."""

from __future__ import annotations

import os

from twisted.internet.defer import CancelledError, Deferred

from dockerapi.engine.errors import EngineError
from dockerapi.engine.facts import Facts
from dockerapi.model.versions import OLDEST, Version
from dockerapi.upstream import backend
from dockerapi.upstream.facts import learn_from_ping, learn_from_version
from dockerapi.wire.httphead import parse_answer_head
from tests.upstream.scripted import Side, UpstreamTestCase, reactor, until

PING = (
    b"HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\nBuilder-Version: 2\r\nDocker-Experimental: true\r\n"
    b"Ostype: linux\r\nSwarm: active/manager\r\nContent-Length: 2\r\n\r\nOK"
)
VERSION = b'{"ApiVersion":"1.47","MinAPIVersion":"1.24","Os":"linux"}'


def with_length(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class StartTests(UpstreamTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(backend, "FIRST_PAUSE", 0.01)

    async def play(self, side: Side) -> None:
        self.assertTrue((await side.request()).startswith(b"GET /_ping HTTP/1.1\r\n"))
        side.say(PING)
        self.assertTrue((await side.request()).startswith(b"GET /version HTTP/1.1\r\n"))
        side.say(with_length(VERSION))

    async def test_learns_the_facts(self) -> None:
        start = Deferred.fromCoroutine(self.backend.start())
        await self.play(await self.upstream.side())
        await start
        self.assertEqual(
            self.engine.facts,
            Facts(
                newest=Version(1, 47),
                oldest=Version(1, 24),
                os="linux",
                experimental=True,
                builder="2",
                swarm="active/manager",
            ),
        )

    async def test_waits_until_the_upstream_answers_as_an_engine(self) -> None:
        os.rename(self.path, f"{self.path}-away")
        start = Deferred.fromCoroutine(self.backend.start())
        end = reactor.seconds() + 0.05
        await until(lambda: reactor.seconds() > end)
        os.rename(f"{self.path}-away", self.path)
        for number, answer in enumerate(
            (
                b"nonsense\r\n\r\n",
                with_length(b"OK"),
                b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
            )
        ):
            side = await self.upstream.side(number)
            await side.request()
            side.say(answer)
            side.transport.loseConnection()
        self.assertFalse(start.called)
        await self.play(await self.upstream.side(3))
        await start
        self.assertEqual(self.engine.facts.newest, Version(1, 47))

    async def test_can_be_given_up(self) -> None:
        start = Deferred.fromCoroutine(self.backend.start())
        await self.upstream.side()
        start.cancel()
        await self.assertFailure(start, CancelledError)

    async def test_ends_with_the_backend(self) -> None:
        start = Deferred.fromCoroutine(self.backend.start())
        await self.upstream.side()
        await self.backend.stop()
        await self.assertFailure(start, EngineError)

    async def test_a_ping_tells_of_what_has_changed(self) -> None:
        run = self.run_job("SystemPing", path="/_ping")
        (await self.upstream.side()).say(PING)
        self.assertEqual((await run).body, b"OK")
        self.assertEqual(self.engine.facts.swarm, "active/manager")


class FactsTests(UpstreamTestCase):
    def test_what_cannot_be_read_changes_nothing(self) -> None:
        facts = Facts()
        for text in (b"", b"\r\nApi-Version: new"):
            self.assertFalse(learn_from_ping(parse_answer_head(b"HTTP/1.1 200 OK" + text), facts))
        for body in (b"", b"[]", b'{"MinAPIVersion":7}', b'{"MinAPIVersion":"x"}', b"{}", b"\xff"):
            learn_from_version(body, facts)
        self.assertEqual((facts, facts.oldest), (Facts(), OLDEST))
