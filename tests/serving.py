"""Serving streamed answers in tests, as the API does it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from dockerapi.engine.answers import Hijack, Response, Stream


def serve(answer: Any, client: Any) -> Deferred[None]:
    """Serve a streamed `answer` to `client`, a sink or (of a `Hijack`) a duplex, to its end."""

    async def to_its_end() -> None:
        if isinstance(answer, Response):
            assert not isinstance(answer.body, bytes)
            await answer.body(client)
        else:
            assert isinstance(answer, Stream | Hijack), answer
            await answer.serve(client)

    return Deferred.fromCoroutine(to_its_end())
