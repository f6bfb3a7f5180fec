"""Who asks: the listener a request came by and what is known of its other end.

Rule: only what the transport vouches for, and nothing that a client says of itself.
"""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """The one on whose behalf a job runs.

    :ivar listener: the host string of the listener, as in ``unix:///run/d.sock``; ``embedded`` for
        a job that the process itself made.
    :ivar address: the peer's address in text, as in ``127.0.0.1:4711``; empty on unix sockets.
    :ivar pid: process id of a unix peer at connect time (SO_PEERCRED), and `uid`, `gid` likewise.
    :ivar certificate: the subject of a verified client certificate (RFC 4514 text).
    """

    listener: str = "embedded"
    address: str = ""
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    certificate: str | None = None

    def __str__(self) -> str:
        if self.certificate is not None:
            return f"cert:{self.certificate}"
        if self.pid is not None:
            return f"uid:{self.uid}/pid:{self.pid}"
        return self.address or self.listener


EMBEDDED = Principal()
