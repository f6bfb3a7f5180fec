"""The API as a resource: a request in, a job run, its answer out.

Rule: a route's part is to decode, run and encode; every request runs through `Engine.run`.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any

from klein.resource import KleinResource
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from dockerapi.api import errors
from dockerapi.api.answers import PINGS, Answers
from dockerapi.api.browsers import Browsers
from dockerapi.api.debug.pages import DebugPages
from dockerapi.api.headers import CommonHeaders
from dockerapi.api.log import RequestLog
from dockerapi.api.paths import BadEscape, check_query
from dockerapi.api.router import Match, Redirect, Router, version_in
from dockerapi.api.routes import ROUTES
from dockerapi.api.settings import ApiSettings
from dockerapi.api.versions import VersionRefused
from dockerapi.engine.answers import Answer, Hijack, Response, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Cancelled, InvalidParameter
from dockerapi.engine.job import Job
from dockerapi.engine.principal import Principal
from dockerapi.http.interfaces import Exchange, HeaderList, Peer
from dockerapi.model.envelope import Envelope
from dockerapi.model.versions import NEWEST, Version

_NOT_FOUND = "page not found"
#: The operations whose queries nobody reads, as in dockerd, be they well formed or not.
_QUERYLESS = PINGS | {"SystemInfo", "SystemVersion"}


class ApiResource(KleinResource):
    """Serves every route of the API; a Klein resource whose requests are `Exchange`s.

    :ivar debug: the pages below `/debug/`, or None.
    """

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        engine: Engine,
        settings: ApiSettings | None = None,
        clock: IReactorTime | None = None,
    ) -> None:
        settings = settings if settings is not None else ApiSettings()
        self._engine = engine
        self._oldest = settings.min_api_version
        self._router = Router(ROUTES, self._endpoint, verbose=settings.debug)
        super().__init__(self._router.app)
        self._common = CommonHeaders(engine.facts, settings.version)
        self._answers = Answers(self._common)
        self._browsers = Browsers(settings.cors_origins, settings.allowed_hosts)
        clock = clock if clock is not None else _installed_clock()
        self._log = RequestLog(settings.logging, settings.version, settings.debug, clock)
        self.debug: DebugPages | None = None
        if settings.debug:
            self.debug = DebugPages(engine, clock)
            self.debug.latency.start()

    def close(self) -> None:
        """Write what is still to be logged, and stop measuring."""
        self._log.close()
        if self.debug is not None:
            self.debug.latency.stop()

    def dispatch(self, request: Exchange) -> None:
        """Answer `request`; never raises."""
        self._serve(request, request.target)

    def render(self, request: Any) -> Any:
        """Answer `request` as `dispatch` does, where the resource stands in a tree of resources.

        The path is what stands below the place of the resource: mounted at ``/docker``, it
        answers ``/docker/v1.41/info`` as ``/v1.41/info``. The tree must be served by
        `dockerapi.http.request.serve_resource`, whose requests are `Exchange`s.
        """
        self._serve(request, _below(request.target, len(request.prepath)))
        return NOT_DONE_YET

    def _endpoint(self, request: Any, **names: str) -> Any:
        """Answer a request that the Klein application of the routes has routed.

        Returns a Deferred that fires when the answer is out.
        """
        done: Deferred[None] = Deferred()
        request.on_done(partial(done.callback, None))
        self.dispatch(request)
        return done

    def _serve(self, request: Exchange, target: bytes) -> None:
        since = perf_counter()
        principal = principal_of(request.peer)
        if self._log.enabled:
            request.on_done(partial(self._log.done, request, principal, since))
        try:
            self._answer(request, principal, target)
        except Exception:
            self._refuse(request, Failure(), self._engine.facts.newest, ())

    def _answer(self, request: Exchange, principal: Principal, target: bytes) -> None:
        self._browsers.check(request)
        cors = self._browsers.cors(request)
        raw_path, _, query = target.partition(b"?")
        if self.debug is not None and raw_path.startswith(b"/debug/"):
            if not self.debug.serve(request, target):
                self._not_found(request, _version_of(raw_path), cors)
            return
        if request.method == b"OPTIONS":
            self._options(request, raw_path, cors)
            return
        try:
            match = self._router.resolve(request.method, raw_path)
            if isinstance(match, Match) and match.route.operation not in _QUERYLESS:
                check_query(query)
        except BadEscape as error:
            refused = Failure(InvalidParameter(str(error)))
            self._refuse(request, refused, self._engine.facts.newest, cors)
            return
        if isinstance(match, Match):
            self._run(request, principal, match, query, cors)
        elif isinstance(match, Redirect):
            mounted_at = request.target.partition(b"?")[0].removesuffix(raw_path)
            location = _quoted(match.location) + (b"?" + query if query else b"")
            request.respond(301, (*self._common.plain, (b"Location", mounted_at + location)))
        else:
            self._not_found(request, _version_of(raw_path), cors)

    def _options(self, request: Exchange, raw_path: bytes, cors: HeaderList) -> None:
        """Answer OPTIONS, which any path of a version that is served has."""
        requested = version_in(raw_path)
        if requested is not None:
            try:
                requested.check(self._engine.facts, self._oldest)
            except VersionRefused:
                self._refuse(request, Failure(), requested.version, cors)
                return
        request.respond(200, (*self._common.plain, *cors))

    def _run(
        self,
        request: Exchange,
        principal: Principal,
        match: Match,
        query: bytes,
        cors: HeaderList,
    ) -> None:
        facts = self._engine.facts
        version = facts.newest
        if match.version is not None:
            try:
                version = match.version.check(facts, self._oldest)
            except VersionRefused:
                self._refuse(request, Failure(), match.version.version, cors)
                return
        until = match.route.until
        if until is not None and version >= until:
            self._not_found(request, version, cors)
            return
        self._log.calling(request, match.path)
        if self.debug is not None:
            self.debug.routes.watch(request, match.route)
        envelope = Envelope(
            match.route.method,
            match.path,
            query.decode("latin-1"),
            request.head,
            request.body,
            request.length,
        )
        job = self._engine.job(
            match.route.operation,
            *match.names,
            principal=principal,
            version=version,
            envelope=envelope,
        )
        running = job.run()
        if running.called and not running.paused and not isinstance(running.result, Failure):
            # The usual case of an answer from memory: no callbacks needed.
            self._send(running.result, request, match, job, cors)
            return
        request.on_gone(running.cancel)
        running.addCallback(self._send, request, match, job, cors)
        running.addErrback(self._failed, request, match, version, cors)

    def _send(
        self, answer: Answer, request: Exchange, match: Match, job: Job, cors: HeaderList
    ) -> None:
        if request.gone:
            if isinstance(answer, Stream | Hijack | Response):
                self._engine.abandon(job)
            return
        try:
            self._answers.send(request, match.route, job, answer, cors)
        except Exception:
            self._engine.abandon(job)
            self._refuse(request, Failure(), job.version, cors, match)

    def _failed(
        self,
        failure: Failure,
        request: Exchange,
        match: Match,
        version: Version,
        cors: HeaderList,
    ) -> None:
        if request.gone and failure.check(CancelledError, Cancelled):
            return
        self._refuse(request, failure, version, cors, match)

    def _refuse(
        self,
        request: Exchange,
        failure: Failure,
        version: Version,
        cors: HeaderList,
        match: Match | None = None,
    ) -> None:
        status, message = errors.status_and_message(failure)
        shown_path, operation = request.target.partition(b"?")[0].decode("latin-1"), ""
        if match is not None:
            shown_path, operation = match.path, match.route.operation
        self._log.failed(request, shown_path, status, message)
        if request.status:
            # The head is out: who serves the body breaks it off.
            return
        if status == 304:
            request.respond(status, (*self._common.plain, *cors))
            return
        headers, body = errors.body(message, version, operation)
        request.respond(status, (*self._common.plain, *cors, *headers), body)

    def _not_found(self, request: Exchange, version: Version, cors: HeaderList) -> None:
        headers, body = errors.body(_NOT_FOUND, version)
        request.respond(404, (*self._common.plain, *cors, *headers), body)


def principal_of(peer: Peer) -> Principal:
    """Return who is at the other end of a connection."""
    return Principal(peer.listener, peer.address, peer.pid, peer.uid, peer.gid, peer.certificate)


def _version_of(raw_path: bytes) -> Version:
    """Return the version that a path without a route begins with; the newest for none."""
    requested = version_in(raw_path)
    return NEWEST if requested is None else requested.version


def _below(target: bytes, used: int) -> bytes:
    """Return what is left of `target` when its first `used` segments are taken away."""
    path, mark, query = target.partition(b"?")
    return b"/" + b"/".join(path.split(b"/")[1 + used :]) + mark + query


def _quoted(location: bytes) -> bytes:
    """Escape what may not stand in a header."""
    return b"".join(bytes((byte,)) if 0x20 < byte < 0x7F else b"%%%02X" % byte for byte in location)


def _installed_clock() -> IReactorTime:
    from twisted.internet import reactor

    return IReactorTime(reactor)
