"""What carries an answer to the client after its head: a body, or a raw stream both ways.

Rule: whoever never gets to serve an exchange gives it up, so that no connection is left waiting.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from dockerapi.upstream.connection import READ
from dockerapi.upstream.exchange import Exchange
from dockerapi.wire.duplex import Duplex, Sink


class Relay:
    """What remains to be done with an exchange, done once; given up when it is forgotten."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.served = False

    def __del__(self) -> None:
        if not self.served:
            self.exchange.abort("nobody wanted the answer")


class BodyRelay(Relay):
    """Passes an answer's body to its client."""

    async def __call__(self, sink: Sink) -> None:
        """Write the whole body to `sink`.

        Raises `StreamAborted` when either side breaks off; the other side then is broken off too.
        """
        self.served = True
        try:
            while data := await self.exchange.read(READ):
                await sink.write(data)
        except BaseException:
            self.exchange.abort("the answer was broken off")
            raise


class HijackRelay(Relay):
    """Joins a client's connection with an upstream's, both raw, each direction ending on its own.

    Such a stream has no framing, so that its end and its breaking off look alike: what the upstream
    said before is delivered in both cases.
    """

    async def __call__(self, client: Duplex) -> None:
        """Carry bytes both ways until both directions have ended, or one side is gone.

        Raises `StreamAborted` when the client breaks off.
        """
        self.served = True
        up = Deferred.fromCoroutine(self._carry_up(client))
        down = Deferred.fromCoroutine(self._carry_down(client))
        self.exchange.on_lost = up.cancel
        if self.exchange.connection.lost is not None:
            up.cancel()
        both = gatherResults((up.addErrback(_ended), down), consumeErrors=True)
        try:
            await both
        except BaseException as error:
            self.exchange.abort("the client's stream broke off")
            up.cancel()
            down.cancel()
            if isinstance(error, FirstError):
                error.subFailure.raiseException()
            raise
        self.exchange.finish_raw()

    async def _carry_up(self, client: Duplex) -> None:
        connection = self.exchange.connection
        await self.exchange.sent()
        while data := await client.read(READ):
            connection.write(data)
            if not await connection.room():
                return
        connection.close_write()

    async def _carry_down(self, client: Duplex) -> None:
        while data := await self.exchange.read(READ):
            await client.write(data)
        await client.close_write()


def _ended(failure: Failure) -> None:
    """Take a cancelled direction for an ended one."""
    failure.trap(CancelledError)
