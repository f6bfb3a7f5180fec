"""TLS to receivers of logs, by the options of a driver.

Rule: a receiver is verified, by name and authority, unless an option says not to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from zope.interface import implementer

from dockerapi.tlsendpoint import TLSEndpoint

#: The longest file of certificates or of a key, in bytes.
_LONGEST = 256 * 1024


def with_tls(
    endpoint: IStreamClientEndpoint, host: str, options: Mapping[str, str], prefix: str
) -> IStreamClientEndpoint:
    """Return an endpoint that speaks TLS with `host`, to which `endpoint` connects.

    The options ``ca-cert``, ``cert``, ``key`` (files) and ``skip-verify`` have names with `prefix`.
    Raises ValueError for files that cannot be used.
    """
    return TLSEndpoint(endpoint, _creator(host, options, prefix))


def _creator(host: str, options: Mapping[str, str], prefix: str) -> Any:
    def read(name: str) -> bytes | None:
        path = options.get(prefix + name)
        return _content(path) if path else None

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


def _content(path: str) -> bytes:
    """Return what is in the file at `path`, which a client chose; raise OSError or ValueError.

    Nothing that may wait for ever, or never ends, is read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"TLS of the log driver: {path} is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(_LONGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LONGEST:
        raise ValueError(f"TLS of the log driver: {path} is too long")
    return content


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
