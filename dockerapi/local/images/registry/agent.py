"""HTTP agents that connect only where they may, with certificates verified or, if told so, not.

Rule: no connection is made but to an address that was allowed after its name was resolved.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from dockerapi.local.images.registry.addresses import Allowed, CheckedEndpoint
from dockerapi.tlsendpoint import TLSEndpoint


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS with whatever certificate the other side has."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._context: SSL.Context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the connection's state."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        connection.set_tlsext_host_name(self._host.encode())
        return connection


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, reactor: Any, allowed: Allowed, verify: bool) -> None:
        self._reactor = reactor
        self._allowed = allowed
        self._verify = verify

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a URL."""
        host = uri.host.decode("ascii").strip("[]")
        endpoint: Any = CheckedEndpoint(self._reactor, host, uri.port, self._allowed)
        if uri.scheme == b"http":
            return endpoint  # type: ignore[no-any-return]
        options = optionsForClientTLS(host) if self._verify else _Unverified(host)
        return TLSEndpoint(endpoint, options)


def make_agent(reactor: Any, pool: HTTPConnectionPool, allowed: Allowed, *, verify: bool) -> Agent:
    """Return an agent whose connections are limited to addresses for which `allowed` is true.

    Agents with different limits may not share a pool, since it hands out open connections.
    """
    factory = _Endpoints(reactor, allowed, verify)
    agent: Agent = Agent.usingEndpointFactory(reactor, factory, pool=pool)
    return agent
