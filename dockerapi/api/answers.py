"""From a job's answer to what goes out.

Rule: a head goes out before anything that serves a stream is called; a stream whose client left is
cancelled, and one that fails says so in band where its operation has words for it, or breaks off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.api.headers import CommonHeaders
from dockerapi.api.json import escape_html, to_json
from dockerapi.api.route import Route
from dockerapi.engine.answers import Answer, Bare, Encoded, Hijack, Response, Stream
from dockerapi.engine.errors import Cancelled, EngineError, InvalidParameter
from dockerapi.engine.job import Job
from dockerapi.http.interfaces import Exchange, HeaderList
from dockerapi.model.versions import adapt, differences
from dockerapi.wire.duplex import Duplex, Sink, StreamAborted
from dockerapi.wire.websocket import BadHandshake, WebSocketDuplex, accept_headers

_log = Logger()

#: What a connection that is taken over without an upgrade is called, frames in it or not.
_RAW_STREAM = (b"Content-Type", b"application/vnd.docker.raw-stream")
_UPGRADED = ((b"Connection", b"Upgrade"), (b"Upgrade", b"tcp"))
#: The operations whose answers have headers of their own.
PINGS = frozenset({"SystemPing", "SystemPingHead"})
_WEBSOCKETS = frozenset({"ContainerAttachWebsocket"})


class Answers:
    """Sends answers, with the headers that every one of them has."""

    def __init__(self, common: CommonHeaders) -> None:
        self._common = common

    def send(
        self, request: Exchange, route: Route, job: Job, answer: Answer, cors: HeaderList
    ) -> None:
        """Send `answer` of `job`; raises `InvalidParameter` for a bad websocket handshake."""
        if answer is None:
            if route.operation in PINGS:
                body = b"OK" if request.method != b"HEAD" else b""
                request.respond(200, _plus(self._common.ping, cors), body)
            else:
                request.respond(route.status, _plus(self._common.plain, cors))
        elif isinstance(answer, Encoded):
            body = answer.body
            if differences(route.operation, job.version):
                body = to_json(adapt(route.operation, job.version, msgspec.json.decode(body)))
            request.respond(route.status, _plus(self._common.json, cors), body)
        elif isinstance(answer, Stream):
            self._stream(request, answer, cors)
        elif isinstance(answer, Hijack):
            self._hijack(request, route, job, answer)
        elif isinstance(answer, Bare):
            request.respond(route.status, (*self._common.plain, *answer.headers, *cors))
        elif isinstance(answer, Response):
            self._response(request, answer, cors)
        else:
            if differences(route.operation, job.version):
                answer = adapt(route.operation, job.version, msgspec.to_builtins(answer))
            request.respond(route.status, _plus(self._common.json, cors), to_json(answer))

    def _stream(self, request: Exchange, answer: Stream, cors: HeaderList) -> None:
        headers = (
            *self._common.plain,
            *cors,
            (b"Content-Type", answer.content_type.encode()),
            *answer.headers,
        )
        sink = request.stream(answer.status, headers, length=answer.length)
        _serve(request, answer.serve, sink, error_lines=answer.error_lines)

    def _response(self, request: Exchange, answer: Response, cors: HeaderList) -> None:
        headers = (*answer.headers, *cors)
        reason = answer.reason.encode("latin-1") if answer.reason is not None else None
        if isinstance(answer.body, bytes):
            if answer.length is not None and not answer.body:
                headers = (*headers, (b"Content-Length", b"%d" % answer.length))
            request.respond(answer.status, headers, answer.body, reason)
            return
        sink = request.stream(answer.status, headers, length=answer.length, reason=reason)
        _serve(request, answer.body, sink, error_lines=False)

    def _hijack(self, request: Exchange, route: Route, job: Job, answer: Hijack) -> None:
        if answer.status is not None:
            reason = answer.reason.encode("latin-1") if answer.reason is not None else None
            duplex = request.hijack(answer.status, answer.headers, reason)
        elif route.operation in _WEBSOCKETS:
            try:
                accepted = accept_headers(request.head)
            except BadHandshake as error:
                raise InvalidParameter(str(error)) from error
            connection = request.hijack(101, (*accepted, *self._common.plain))
            duplex = WebSocketDuplex(connection, DeferredLock())
        else:
            if _upgrades(request):
                media_type = (b"Content-Type", answer.content_type.encode())
                headers = (media_type, *_UPGRADED, *self._common.plain)
                duplex = request.hijack(101, headers, b"UPGRADED")
            else:
                duplex = request.hijack(200, (_RAW_STREAM, *self._common.plain), b"OK")
        _serve_duplex(request, answer.serve, duplex)


def _plus(headers: HeaderList, more: HeaderList) -> HeaderList:
    return (*headers, *more) if more else headers


def _upgrades(request: Exchange) -> bool:
    return bool(request.header(b"upgrade"))


def _serve(
    request: Exchange, serve: Callable[[Any], Awaitable[None]], sink: Sink, *, error_lines: bool
) -> None:
    async def run() -> None:
        try:
            await serve(sink)
        except EngineError as error:
            if not error_lines or isinstance(error, Cancelled):
                raise
            await sink.write(_error_line(error.message))
        await sink.close_write()

    running = Deferred.fromCoroutine(run())
    request.on_gone(running.cancel)
    running.addErrback(_broken, sink)


def _serve_duplex(
    request: Exchange, serve: Callable[[Any], Awaitable[None]], duplex: Duplex
) -> None:
    async def run() -> None:
        await serve(duplex)
        await duplex.close_write()

    running = Deferred.fromCoroutine(run())
    request.on_gone(running.cancel)
    running.addErrback(_broken, duplex)


def _broken(failure: Failure, stream: Sink) -> None:
    """Break a stream off that cannot be ended well; a defect of ours is logged."""
    if failure.check(CancelledError, Cancelled, StreamAborted):
        stream.abort("its client left")
    elif failure.check(EngineError):
        stream.abort(failure.getErrorMessage())
    else:
        _log.failure("a stream failed", failure=failure)
        stream.abort("internal server error")


def _error_line(message: str) -> bytes:
    line = escape_html(to_json({"errorDetail": {"message": message}, "error": message}))
    return line.removesuffix(b"\n") + b"\r\n"
