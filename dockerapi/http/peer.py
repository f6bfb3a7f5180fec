"""Who is at the other end of a connection.

Rule: only what the kernel or a finished TLS handshake vouches for.
"""

from __future__ import annotations

import select
import socket
import struct
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import INegotiated, ITransport

from dockerapi.http.interfaces import Peer

_CREDENTIALS = struct.Struct("3i")
#: After how many seconds of silence a peer is asked whether it is there, and again (as dockerd).
_ASK_AFTER = 15


def peer_of(transport: ITransport, listener: str) -> Peer:
    """Return the `Peer` of `transport`, accepted by the listener with the host string `listener`.

    On TLS it is complete once the handshake is: from the first byte received on.
    """
    transport_: Any = transport
    address = transport_.getPeer()
    if not isinstance(address, IPv4Address | IPv6Address):
        return _unix_peer(transport_, listener)
    host = f"[{address.host}]" if ":" in address.host else address.host
    text = f"{host}:{address.port}"
    if is_tls(transport_):
        return Peer(listener, "tls", text, certificate=_subject(transport_))
    return Peer(listener, "tcp", text)


def is_tls(transport: Any) -> bool:
    """Tell whether `transport` is one of Twisted's TLS, without loading that."""
    return bool(INegotiated.providedBy(transport))


def account_of(transport: ITransport) -> object:
    """Return under whose name a connection is counted: an address, or a unix user."""
    address: Any = transport.getPeer()
    if isinstance(address, IPv4Address | IPv6Address):
        return address.host
    return _unix_peer(transport, "").uid


def prepare_tcp(transport: Any) -> None:
    """Send at once, and notice within minutes when the peer vanishes without a word.

    Without it a raw stream to a machine that was switched off would be held for ever.
    """
    while is_tls(transport):
        transport = transport.transport
    transport.setTcpNoDelay(True)
    transport.setTcpKeepAlive(True)
    handle = transport.getHandle()
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASK_AFTER)
    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_AFTER)


def has_closed(descriptor: int) -> bool:
    """Tell whether the peer has certainly closed both directions; on TCP that cannot be seen."""
    if descriptor < 0:
        return False
    poller = select.poll()
    poller.register(descriptor, 0)
    return bool(poller.poll(0))


def _unix_peer(transport: Any, listener: str) -> Peer:
    handle = getattr(transport, "getHandle", lambda: None)()
    if not isinstance(handle, socket.socket) or handle.family != socket.AF_UNIX:
        return Peer(listener, "unix")
    raw = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(listener, "unix", pid=pid, uid=uid, gid=gid)


def _subject(transport: Any) -> str | None:
    certificate = transport.getPeerCertificate()
    if certificate is None:
        return None
    return str(certificate.to_cryptography().subject.rfc4514_string())
