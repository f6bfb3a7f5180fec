"""What is logged of a request: the source's lines, and one with its outcome.

Rule: what a client sent is escaped; values of headers, queries' secrets and bodies never appear.
"""

from __future__ import annotations

import re
from time import perf_counter

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from dockerapi.engine.principal import Principal
from dockerapi.http.interfaces import Exchange

#: How much of a path is shown.
LONGEST = 512
#: How long outcomes wait to be written together, in seconds.
DELAY = 0.05

_AGENT = re.compile(rb"Docker-Client/([^ (]+)")


def shown(raw: bytes) -> str:
    """Return a client's bytes for a log: printable ASCII, the rest escaped, in bounds."""
    text = raw[:LONGEST].decode("latin-1")
    if not (text.isascii() and text.isprintable()):
        text = text.encode("unicode_escape").decode("ascii")
    return text + "..." if len(raw) > LONGEST else text


class RequestLog:
    """Writes the lines of requests.

    :ivar enabled: whether requests are logged at all (the job's `Logging`).
    """

    log = Logger(namespace="dockerapi.api")

    def __init__(self, enabled: bool, version: str, verbose: bool, clock: IReactorTime) -> None:
        self.enabled = enabled
        self._clock = clock
        self._lines: list[tuple[Exchange, Principal, float]] = []
        self._flushing: IDelayedCall | None = None
        self._version = version.encode()
        self._verbose = verbose

    def calling(self, request: Exchange, path: str) -> None:
        """Log that a route is called, and a client of another version (debug)."""
        if not self._verbose:
            return
        self.log.debug(
            "Calling {method} {route}", method=shown(request.method), route=shown(path.encode())
        )
        agent = _AGENT.search(request.header(b"user-agent") or b"")
        if agent is not None and agent[1] != self._version:
            self.log.debug(
                "Warning: client and server don't have the same version "
                "(client: {client}, server: {server})",
                client=shown(agent[1]),
                server=self._version.decode(),
            )

    def failed(self, request: Exchange, path: str, status: int, message: str) -> None:
        """Log an error answer: a client's mistake as information, ours as an error."""
        if not self.enabled or status < 400:
            return
        write = self.log.error if status >= 500 and status not in (501, 503) else self.log.info
        write(
            "Handler for {method} {route} returned error: {text}",
            method=shown(request.method),
            route=shown(path.encode("latin-1", "replace")),
            text=shown(message.encode("utf-8", "backslashreplace")),
        )

    def done(self, request: Exchange, principal: Principal, since: float) -> None:
        """Log the outcome of a request: status, milliseconds, bytes of body, who.

        Lines are written together a little later: one event of the log costs more than
        the request.
        """
        self._lines.append((request, principal, perf_counter() - since))
        if self._flushing is None:
            self._flushing = self._clock.callLater(DELAY, self._flush)

    def close(self) -> None:
        """Write what waits."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flush()

    def _flush(self) -> None:
        self._flushing = None
        lines, self._lines = self._lines, []
        self.log.info("{lines}", lines="\n".join(_outcome(*line) for line in lines))


def _outcome(request: Exchange, principal: Principal, seconds: float) -> str:
    target = shown(request.target.partition(b"?")[0])
    return (
        f"{shown(request.method)} {target} {request.status} "
        f"{seconds * 1000:.1f}ms {request.sent}B {principal}"
    )
