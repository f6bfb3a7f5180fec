"""TLS towards the upstream: whom to trust, and who we are.

Rule: the server's certificate and its name are always verified (service_identity, by Twisted).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
)
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from dockerapi.engine.errors import InvalidParameter

#: What reading certificates and keys may raise; TypeError is a key with a passphrase.
_UNUSABLE = (OSError, ValueError, TypeError, SSL.Error, crypto.Error)


class ClientTLS(msgspec.Struct, frozen=True):
    """Files in PEM.

    :ivar ca: the authorities that the upstream's certificate must come from; None for the
        platform's.
    :ivar certificate: our certificate, and `key` its key; None for none.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def options(self, host: str) -> IOpenSSLClientConnectionCreator:
        """Return what makes connections to `host`, a name or an address.

        Raises `InvalidParameter` that names the file which cannot be used.
        """
        trust = platformTrust() if self.ca is None else trustRootFromCertificates(_read(self.ca))
        ours = None
        if self.certificate is not None and self.key is not None:
            try:
                key = self.key.read_bytes()
                load_pem_private_key(key, password=None)
                ours = PrivateCertificate.loadPEM(key + b"\n" + self.certificate.read_bytes())
            except _UNUSABLE as error:
                raise InvalidParameter(
                    f"cannot use the certificate {self.certificate} with {self.key}: {error}"
                ) from error
        elif self.certificate is not None or self.key is not None:
            raise InvalidParameter("a client certificate and its key are given together")
        return optionsForClientTLS(host, trustRoot=trust, clientCertificate=ours)


#: Twisted's class has no types; what is called of it below is its own.
_TLS: Any = TLSMemoryBIOProtocol


class _HalfClosing(_TLS):  # type: ignore[misc]
    """TLS whose half-close is a close_notify (Twisted's ends the TCP stream beneath it)."""

    def loseWriteConnection(self) -> None:
        """Send close_notify; called after what was written has gone out."""
        try:
            self._tlsConnection.shutdown()
        except SSL.Error:
            self.abortConnection()
        else:
            self._flushSendBIO()


class HalfClosingFactory(TLSMemoryBIOFactory):
    """Makes what speaks TLS to an upstream."""

    protocol = _HalfClosing


def _read(path: Path) -> list[Certificate]:
    """Return the certificates in a file."""
    begin = b"-----BEGIN CERTIFICATE-----"
    try:
        blocks = path.read_bytes().split(begin)[1:]
        certificates = [Certificate.loadPEM(begin + block) for block in blocks]
    except _UNUSABLE as error:
        raise InvalidParameter(f"cannot use the certificates in {path}: {error}") from error
    if not certificates:
        raise InvalidParameter(f"no certificate in {path}")
    return certificates
