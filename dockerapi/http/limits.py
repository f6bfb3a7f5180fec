"""How much and how long one HTTP connection may take.

Rule: every bound that a client could reach is named here; nothing else in the package has one.
"""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Sizes in bytes, times in seconds.

    :ivar line: the longest request line (414 past it) or header line (431).
    :ivar head: a whole head (431).
    :ivar headers: header fields in one head (431).
    :ivar pipeline: what is read ahead while an answer is pending.
    :ivar body_buffer: what of a body, or of a hijacked stream, waits for its reader.
    :ivar drain: what is read of a body that nobody wanted, so that the connection can be kept.
    :ivar chunk_line: a chunk's size with its extensions; also each trailer.
    :ivar trailers: all trailers of a body.
    :ivar connections: connections in all.
    :ivar connections_per_peer: of one address on TCP, of one user on a unix socket.
    :ivar spare_descriptors: descriptors that connections leave to everything else.
    :ivar head_seconds: from a connection's start, or a head's first byte, to the head's end.
    :ivar idle_seconds: between two requests.
    :ivar body_seconds: the longest pause in a body that its reader waits for.
    :ivar leave_seconds: how long an answer may still take after its client ended its side: one that
        only said that it has no more requests (``printf | socat``) gets its answer.
    :ivar linger_seconds: how long a client may take to close after us.
    :ivar settle_seconds: from a hijack's head to its first bytes, so that a client (docker-py)
        that would lose what it reads together with the head has read the head by itself.
    """

    line: int = 16 * 1024
    head: int = 64 * 1024
    headers: int = 100
    pipeline: int = 64 * 1024
    body_buffer: int = 256 * 1024
    drain: int = 256 * 1024
    chunk_line: int = 4096
    trailers: int = 16 * 1024
    connections: int = 16384
    connections_per_peer: int = 8192
    spare_descriptors: int = 128
    head_seconds: float = 30.0
    idle_seconds: float = 300.0
    body_seconds: float = 300.0
    leave_seconds: float = 0.5
    linger_seconds: float = 5.0
    settle_seconds: float = 0.002
