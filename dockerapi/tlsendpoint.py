"""Connecting with TLS.

Rule: works also where the reactor was loaded without TLS (`dockerapi.lean`), and Twisted's own
`wrapClientTLS` therefore not.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
@attrs.frozen
class TLSEndpoint:
    """Connects to `endpoint` and speaks TLS there, as `creator` says.

    :ivar kind: the factory of what speaks it.
    """

    endpoint: IStreamClientEndpoint
    creator: IOpenSSLClientConnectionCreator
    kind: type[TLSMemoryBIOFactory] = TLSMemoryBIOFactory

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Return a Deferred of the protocol that `factory` makes; the handshake is under way."""
        wrapped = self.endpoint.connect(self.kind(self.creator, True, factory))
        return wrapped.addCallback(_unwrap)


def _unwrap(protocol: Any) -> IProtocol:
    inner: IProtocol = protocol.wrappedProtocol
    return inner
