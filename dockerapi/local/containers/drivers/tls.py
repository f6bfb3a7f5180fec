"""TLS to receivers of logs, by the options of a driver.

Rule: a receiver is verified, by name and authority, unless an option says not to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer


def client_options(host: str, options: Mapping[str, str], prefix: str) -> Any:
    """Return what `wrapClientTLS` wants for `host`.

    The options ``ca-cert``, ``cert``, ``key`` (files) and ``skip-verify`` have names with `prefix`.
    Raises ValueError for files that cannot be used.
    """

    def read(name: str) -> bytes | None:
        path = options.get(prefix + name)
        return Path(path).read_bytes() if path else None

    try:
        authority, certificate, key = read("ca-cert"), read("cert"), read("key")
        client = None
        if certificate is not None and key is not None:
            client = PrivateCertificate.loadPEM(key + b"\n" + certificate)
        if options.get(prefix + "skip-verify"):
            plain = CertificateOptions() if client is None else client.options()
            return _Unverified(host, plain.getContext())
        trust = (
            platformTrust()
            if authority is None
            else trustRootFromCertificates([Certificate.loadPEM(authority)])
        )
        return optionsForClientTLS(host, trust, client)
    except (OSError, SSL.Error, crypto.Error) as error:
        raise ValueError(f"TLS of the log driver: {error}") from error


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """TLS to whoever answers."""

    def __init__(self, host: str, context: SSL.Context) -> None:
        self._host = host
        self._context = context

    def clientConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """Return a connection without a socket; Twisted moves its bytes."""
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(self._host.encode("idna"))
        connection.set_connect_state()
        connection.set_app_data(protocol)
        return connection
