"""Which connections to the upstream are kept and used again."""

from __future__ import annotations

from typing import Any

from dockerapi.engine.errors import Unavailable
from tests.upstream.scripted import (
    OK,
    UpstreamTestCase,
    until,
)


class ConnectionTests(UpstreamTestCase):
    """Which connections are kept, and what happens when a kept one turns out to be stale."""

    async def exchange(self, side_number: int, answer: bytes, **request: Any) -> Any:
        run = self.run_job(**request)
        side = await self.upstream.side(side_number)
        await side.request()
        side.say(answer)
        return await run

    async def test_a_clean_connection_is_used_again(self) -> None:
        for _ in range(3):
            await self.exchange(0, OK + b"Content-Length: 1\r\n\r\na")
        self.assertEqual(len(self.upstream.sides), 1)

    async def test_an_unclean_one_is_not(self) -> None:
        for number, answer in enumerate(
            (
                OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
                OK + b"Content-Length: 1\r\n\r\nab",
                b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            )
        ):
            await self.exchange(number, answer)
            await until(lambda: self.upstream.sides[number].lost)  # noqa: B023

    async def test_one_that_speaks_unasked_is_closed(self) -> None:
        await self.exchange(0, OK + b"Content-Length: 0\r\n\r\n")
        self.upstream.sides[0].say(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await until(lambda: self.upstream.sides[0].lost)
        await self.exchange(1, OK + b"Content-Length: 0\r\n\r\n")

    async def test_any_number_is_open_at_once(self) -> None:
        runs = [self.run_job("SystemEvents") for _ in range(150)]
        for number in range(150):
            (await self.upstream.side(number)).say(OK + b"Content-Length: 0\r\n\r\n")
        for run in runs:
            await run
        self.assertLessEqual(self.backend._pool.idle, 64)

    async def test_a_safe_request_is_tried_again_on_a_new_connection(self) -> None:
        await self.exchange(0, OK + b"Content-Length: 0\r\n\r\n")
        run = self.run_job(path="/again")
        await self.upstream.sides[0].request()
        self.upstream.sides[0].transport.loseConnection()
        fresh = await self.upstream.side(1)
        self.assertTrue((await fresh.request()).startswith(b"GET /v1.41/again "))
        fresh.say(OK + b"Content-Length: 2\r\n\r\nok")
        self.assertEqual((await run).body, b"ok")

    async def test_it_is_tried_again_once(self) -> None:
        await self.exchange(0, OK + b"Content-Length: 0\r\n\r\n")
        run = self.run_job()
        for number in range(2):
            side = await self.upstream.side(number)
            await side.request()
            side.transport.loseConnection()
        await self.assertFailure(run, Unavailable)
        self.assertEqual(len(self.upstream.sides), 2)

    async def test_a_request_with_effects_is_not_sent_twice(self) -> None:
        await self.exchange(0, OK + b"Content-Length: 0\r\n\r\n")
        run = self.run_job("ContainerStart", "POST", "/containers/x/start")
        await self.upstream.sides[0].request()
        self.upstream.sides[0].transport.loseConnection()
        await self.assertFailure(run, Unavailable)
        self.assertEqual(len(self.upstream.sides), 1)

    async def test_a_closed_connection_is_noticed_before_it_is_used(self) -> None:
        await self.exchange(0, OK + b"Content-Length: 0\r\n\r\n")
        self.upstream.sides[0].transport.connectionLost(self.closed())
        run = self.run_job("ContainerStart", "POST", "/containers/x/start")
        side = await self.upstream.side(1)
        await side.request()
        side.say(b"HTTP/1.1 204 X\r\n\r\n")
        self.assertEqual((await run).status, 204)

    def closed(self) -> Any:
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        return Failure(ConnectionDone())

    async def test_an_idle_connection_is_closed_in_time(self) -> None:
        await self.exchange(0, OK + b"Content-Length: 0\r\n\r\n")
        sweep = self.backend._pool._sweep
        assert sweep is not None
        sweep.reset(0.01)
        self.patch(self.backend._pool._idle[0], "idle_since", -1.0)
        await until(lambda: self.upstream.sides[0].lost)
