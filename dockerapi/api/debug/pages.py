"""The pages below `/debug/`, on unix sockets and verified TLS only.

Source: Docker 1.2's `AttachProfiler`, Go's `expvar` and `net/http/pprof`. Rule: no page shows
environment values, bodies or credentials.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.api.debug import heap, stacks
from dockerapi.api.debug.latency import ReactorLatency
from dockerapi.api.debug.profiler import Busy, Profiler
from dockerapi.api.debug.routes import RouteMetrics
from dockerapi.engine.engine import Engine
from dockerapi.http.interfaces import Exchange, Peer
from dockerapi.wire import pprof

#: The longest profile, in seconds, and the length of one that names none.
LONGEST = 300.0
DEFAULT = 30.0

_PROFILES = {
    "goroutine": "coroutines and Deferreds in flight, with their stacks",
    "heap": "what lives in memory",
    "threadcreate": "threads, with their stacks",
}
_OTHERS = {
    "cmdline": "the command line of this process",
    "profile": "processor time of the reactor's thread; ?seconds=N",
    "symbol": "names of addresses",
}


class Page(msgspec.Struct, frozen=True):
    """One answer: status, media type and body."""

    status: int
    content_type: str
    body: bytes


Render = Callable[[dict[str, list[str]]], Awaitable[Page]]


def may_see(peer: Peer) -> bool:
    """Tell whether `peer` may see these pages: a unix peer, or one with a verified certificate."""
    return peer.kind == "unix" or (peer.kind == "tls" and peer.certificate is not None)


class DebugPages:
    """Serves the pages for one engine.

    :ivar routes: counters of the API's routes.
    :ivar variables: further values of `/debug/vars` by name, each from a function.
    """

    log = Logger()

    def __init__(self, engine: Engine, clock: IReactorTime) -> None:
        self._engine = engine
        self._profiler = Profiler(clock)
        self.latency = ReactorLatency(clock)
        self.routes = RouteMetrics()
        self.variables: dict[str, Callable[[], object]] = {}
        self._pages: dict[str, Render] = {
            "/debug/vars": self._vars,
            "/debug/pprof/": self._index,
            "/debug/pprof/cmdline": self._cmdline,
            "/debug/pprof/profile": self._profile,
            "/debug/pprof/symbol": self._symbol,
            "/debug/pprof/goroutine": _taken(stacks.tasks),
            "/debug/pprof/heap": _taken(heap.heap),
            "/debug/pprof/threadcreate": _taken(stacks.threads),
        }

    def serve(self, request: Exchange, target: bytes) -> bool:
        """Answer `request` when `target` is one of the pages and it may; tell whether it did."""
        path, _, query_text = target.decode("latin-1").partition("?")
        render = self._pages.get(path)
        if render is None or not may_see(request.peer):
            return False
        query = parse_qs(query_text)
        running = Deferred.fromCoroutine(_coroutine(render, query))
        request.on_gone(running.cancel)
        running.addCallbacks(
            lambda page: _send(request, page), lambda failure: self._failed(request, failure)
        )
        return True

    def _failed(self, request: Exchange, failure: Failure) -> None:
        if request.gone:
            return
        if failure.check(Busy, ValueError):
            _send(request, Page(400, _TEXT, f"{failure.getErrorMessage()}\n".encode()))
            return
        self.log.failure("a debug page failed", failure=failure)
        _send(request, Page(500, _TEXT, b"this page failed; the log says why\n"))

    async def _vars(self, query: dict[str, list[str]]) -> Page:
        # Here, since few ask for this page, and everyone would pay 0.7 MB.
        import psutil

        process = psutil.Process()
        memory = process.memory_info()
        document: dict[str, Any] = {
            "cmdline": sys.argv,
            "jobs": {
                name: attrs.asdict(counters) for name, counters in self._engine.metrics.jobs.items()
            },
            "routes": self.routes.document(),
            "running": len(self._engine.running),
            "listeners": self._engine.events.listeners,
            "memory": {"rss": memory.rss, "vms": memory.vms},
            "threads": process.num_threads(),
            "reactor": {"latency": self.latency.last, "longest_latency": self.latency.longest},
        }
        for name, value in self.variables.items():
            document[name] = value()
        return Page(200, "application/json; charset=utf-8", msgspec.json.encode(document) + b"\n")

    async def _index(self, query: dict[str, list[str]]) -> Page:
        rows = "".join(
            f'<tr><td><a href="{name}?debug=1">{name}</a></td><td>{what}</td></tr>\n'
            for name, what in _PROFILES.items()
        ) + "".join(
            f'<tr><td><a href="{name}">{name}</a></td><td>{what}</td></tr>\n'
            for name, what in _OTHERS.items()
        )
        page = (
            "<!DOCTYPE html>\n<html><head><title>/debug/pprof/</title></head><body>\n"
            f"<h1>/debug/pprof/</h1>\n<table>\n{rows}</table>\n</body></html>\n"
        )
        return Page(200, "text/html; charset=utf-8", page.encode())

    async def _cmdline(self, query: dict[str, list[str]]) -> Page:
        return Page(200, _TEXT, "\0".join(sys.argv).encode("utf-8", "surrogateescape"))

    async def _profile(self, query: dict[str, list[str]]) -> Page:
        seconds = float(query.get("seconds", [str(DEFAULT)])[0])
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"seconds: must be more than 0 and at most {LONGEST:.0f}")
        return _page(await self._profiler.profile(seconds), query)

    async def _symbol(self, query: dict[str, list[str]]) -> Page:
        # Our profiles carry their names; there is nothing to look up.
        return Page(200, _TEXT, b"num_symbols: 1\n")


_TEXT = "text/plain; charset=utf-8"


def _taken(take: Callable[[], pprof.Profile]) -> Render:
    async def render(query: dict[str, list[str]]) -> Page:
        return _page(take(), query)

    return render


def _page(profile: pprof.Profile, query: dict[str, list[str]]) -> Page:
    if query.get("debug", ["0"])[0] not in ("", "0"):
        return Page(200, _TEXT, pprof.text(profile).encode("utf-8", "backslashreplace"))
    return Page(200, "application/octet-stream", pprof.encode(profile))


def _send(request: Exchange, page: Page) -> None:
    headers = [
        (b"Content-Type", page.content_type.encode()),
        (b"X-Content-Type-Options", b"nosniff"),
    ]
    request.respond(page.status, headers, page.body)


async def _coroutine(render: Render, query: dict[str, list[str]]) -> Page:
    return await render(query)
