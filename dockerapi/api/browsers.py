"""What keeps web pages away from the API, and what lets those in that may use it.

A page in a browser can send requests to a TCP port of this machine. It cannot choose the `Origin`
header, nor the `Host` header of the name that it resolved, so both are checked. Source of the
CORS headers: Docker 1.2's `writeCorsHeaders`.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from dockerapi.engine.errors import Forbidden
from dockerapi.http.interfaces import Exchange

_ALLOW_HEADERS = b"Origin, X-Requested-With, Content-Type, Accept, X-Registry-Auth"
_ALLOW_METHODS = b"HEAD, GET, POST, DELETE, PUT, OPTIONS"

_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.%]+\]")

#: What libraries for websockets, which must name an origin, say of a socket that has no host.
_NO_HOST = b"http://localhost"


class Browsers:
    """Decides by `Host` and `Origin`, and makes the CORS headers."""

    def __init__(self, origins: Sequence[str], allowed_hosts: Sequence[str]) -> None:
        self._origins = frozenset(origins)
        name = socket.gethostname().lower()
        own = {"localhost", name, name.partition(".")[0]}
        self._hosts = (own | {host.lower() for host in allowed_hosts}) - {""}

    def check(self, request: Exchange) -> None:
        """Raise `Forbidden` for a request that a foreign web page may have sent."""
        peer, origin = request.peer, request.header(b"origin")
        # Host is looked at where a page can lead a browser; without one (HTTP/1.0) it is none.
        given = None
        if peer.kind != "unix" and peer.certificate is None:
            given = request.header(b"host")
        if given is None and origin is None:
            return
        host = (request.header(b"host") or b"").decode("latin-1").lower()
        if given is not None and not self._is_own(host):
            raise Forbidden(f"the host name {host!r} is not one of this server (--allowed-host)")
        if peer.kind == "unix" and origin == _NO_HOST:
            return
        if origin is not None and not self._is_welcome(origin.decode("latin-1"), host):
            raise Forbidden(f"requests from {origin.decode('latin-1')!r} are not allowed")

    def cors(self, request: Exchange) -> tuple[tuple[bytes, bytes], ...]:
        """Return the CORS headers for an answer to `request`."""
        if not self._origins:
            return ()
        origin = request.header(b"origin")
        if "*" in self._origins:
            allowed = b"*"
        elif origin is not None and origin.decode("latin-1") in self._origins:
            allowed = origin
        else:
            return ((b"Vary", b"Origin"),)
        return (
            (b"Access-Control-Allow-Origin", allowed),
            (b"Access-Control-Allow-Headers", _ALLOW_HEADERS),
            (b"Access-Control-Allow-Methods", _ALLOW_METHODS),
            (b"Vary", b"Origin"),
        )

    def _is_own(self, host: str) -> bool:
        name = re.sub(r":\d*$", "", host)
        return _ADDRESS.fullmatch(name) is not None or name in self._hosts or "*" in self._hosts

    def _is_welcome(self, origin: str, host: str) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        # Clients that are no browsers name the server itself (websocket libraries do).
        try:
            return bool(host) and urlsplit(origin).netloc.lower() == host
        except ValueError:
            return False
