"""What is logged of a request: the source's lines, and one with its outcome.

Rule: what a client sent is escaped; values of headers, queries' secrets and bodies never appear.
"""

from __future__ import annotations

import re
from time import perf_counter

from twisted.logger import Logger

from dockerapi.engine.principal import Principal
from dockerapi.http.interfaces import Exchange

#: How much of a path is shown.
LONGEST = 512

_AGENT = re.compile(rb"Docker-Client/([^ (]+)")


def shown(raw: bytes) -> str:
    """Return a client's bytes for a log: printable ASCII, the rest escaped, in bounds."""
    text = raw[:LONGEST].decode("latin-1").encode("unicode_escape").decode("ascii")
    return text + "..." if len(raw) > LONGEST else text


class RequestLog:
    """Writes the lines of requests.

    :ivar enabled: whether requests are logged at all (the job's `Logging`).
    """

    log = Logger(namespace="dockerapi.api")

    def __init__(self, enabled: bool, version: str, verbose: bool) -> None:
        self.enabled = enabled
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
            "Handler for {method} {route} returned error: {message}",
            method=shown(request.method),
            route=shown(path.encode("latin-1", "replace")),
            message=shown(message.encode("utf-8", "backslashreplace")),
        )

    def done(self, request: Exchange, principal: Principal, since: float) -> None:
        """Log the outcome of a request: status, milliseconds, bytes of body, who."""
        target = request.target.partition(b"?")[0]
        self.log.info(
            "{method} {target} {status} {time:.1f}ms {sent}B {who}",
            method=shown(request.method),
            target=shown(target),
            status=request.status,
            time=(perf_counter() - since) * 1000,
            sent=request.sent,
            who=principal,
        )
