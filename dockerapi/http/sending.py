"""Sending on Twisted's transports.

Rule: the only module that looks at how a transport buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.tcp import Connection

from dockerapi.http.peer import is_tls


def sender(transport: Any) -> Callable[[bytes], None]:
    """Return what sends bytes on `transport`: at once where nothing waits to be sent.

    Twisted's own `write` waits for the reactor's next turn, and costs two system calls more.
    """
    if not isinstance(transport, Connection):
        write: Callable[[bytes], None] = transport.write
        return write

    def send(data: bytes) -> None:
        if (
            transport._tempDataBuffer
            or transport.dataBuffer
            or not transport.connected
            or transport.disconnecting
            or transport._writeDisconnecting
        ):
            transport.write(data)
            return
        sent = transport.writeSomeData(data)
        if not isinstance(sent, int) or sent < 0:
            sent = 0  # the reactor's own write meets the error again, and reports it
        if sent < len(data):
            transport.write(data[sent:])

    return send


def flush(transport: Any) -> None:
    """Hand what is buffered to the kernel, or to TLS as a record of its own, as far as it goes."""
    if is_tls(transport):
        aggregator = getattr(transport, "_aggregator", None)
        if aggregator is not None:
            aggregator.flush()
        return
    if isinstance(transport, Connection) and (transport._tempDataBuffer or transport.dataBuffer):
        transport.doWrite()


def can_half_close(transport: Any) -> bool:
    """Return whether `transport` can end its writing side alone."""
    if is_tls(transport):
        # Here, since only servers with TLS have it loaded: OpenSSL takes 9 MB.
        from dockerapi.http.tlshalfclose import HalfCloseTLS

        return isinstance(transport, HalfCloseTLS)
    return hasattr(transport, "loseWriteConnection")
