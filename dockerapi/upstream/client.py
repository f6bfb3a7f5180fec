"""An HTTP/1.1 client for one upstream: a request in, an exchange with its answer's head out.

Rule: a request is sent a second time only where the first cannot have had an effect.
"""

from __future__ import annotations

import msgspec

from dockerapi.engine.errors import Cancelled, EngineError, InvalidParameter, Unavailable
from dockerapi.upstream.exchange import Exchange, Request
from dockerapi.upstream.pool import Pool
from dockerapi.wire.duplex import StreamAborted
from dockerapi.wire.httphead import BadHead

#: The longest answer to a request of our own, in bytes.
OWN_LIMIT = 1024 * 1024


class Client(msgspec.Struct, frozen=True):
    """Sends requests through a pool; `name` is the upstream's, for messages."""

    pool: Pool
    name: str

    async def send(self, request: Request) -> Exchange:
        """Return the exchange of `request` once its answer's head has come.

        Raises `Unavailable` when the upstream cannot be reached or breaks off before, `Cancelled`
        when the request's own body breaks off, `InvalidParameter` when it cannot be sent.
        """
        try:
            head = request.head()
        except BadHead as error:
            raise InvalidParameter(f"cannot be forwarded: {error}") from error
        exchange = await self._try(request, head, fresh=False)
        if exchange.stale and request.replayable:
            exchange = await self._try(request, head, fresh=True)
        if exchange.head is not None:
            return exchange
        if exchange.client_left:
            raise Cancelled(exchange.failure)
        raise Unavailable(f"the engine at {self.name} did not answer: {exchange.failure}")

    async def get(self, path: bytes, authority: bytes) -> tuple[Exchange, bytes]:
        """Return the answer to a GET of our own, whole; raise an `EngineError`."""
        exchange = await self.send(Request(b"GET", path, ((b"Host", authority),)))
        body = b""
        try:
            while data := await exchange.read():
                body += data
                if len(body) > OWN_LIMIT:
                    raise EngineError(f"the engine at {self.name} answers without end")
        except BaseException as error:
            exchange.abort("not wanted")
            if isinstance(error, StreamAborted):
                raise Unavailable(f"the engine at {self.name} broke off: {error}") from error
            raise
        return exchange, body

    async def _try(self, request: Request, head: bytes, *, fresh: bool) -> Exchange:
        """Send `request` on one connection; return its exchange, answered or failed."""
        exchange = Exchange(await self.pool.take(fresh=fresh), request)
        try:
            exchange.send(head)
            await exchange.wait()
        except BaseException:
            exchange.abort("the request was given up")
            raise
        return exchange
