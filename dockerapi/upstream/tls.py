"""TLS towards the upstream: whom to trust, and who we are.

Rule: the server's certificate and its name are always verified (service_identity, by Twisted).
"""

from __future__ import annotations

from pathlib import Path

import attrs
from OpenSSL.SSL import Error
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)

from dockerapi.engine.errors import InvalidParameter


@attrs.frozen
class ClientTLS:
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
                ours = PrivateCertificate.loadPEM(
                    self.key.read_bytes() + b"\n" + self.certificate.read_bytes()
                )
            except (OSError, ValueError, Error) as error:
                raise InvalidParameter(
                    f"cannot use the certificate {self.certificate} with {self.key}: {error}"
                ) from error
        elif self.certificate is not None or self.key is not None:
            raise InvalidParameter("a client certificate and its key are given together")
        return optionsForClientTLS(host, trustRoot=trust, clientCertificate=ours)


def _read(path: Path) -> list[Certificate]:
    """Return the certificates in a file."""
    begin = b"-----BEGIN CERTIFICATE-----"
    try:
        blocks = path.read_bytes().split(begin)[1:]
        certificates = [Certificate.loadPEM(begin + block) for block in blocks]
    except (OSError, ValueError, Error) as error:
        raise InvalidParameter(f"cannot use the certificates in {path}: {error}") from error
    if not certificates:
        raise InvalidParameter(f"no certificate in {path}")
    return certificates
