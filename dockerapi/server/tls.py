"""Certificates of the server: read, checked, and replaced while it serves.

Rule: what is wrong with a certificate shows when it is loaded, and then the old one stays.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from dockerapi.server.certificatefiles import BadCertificate, TlsFiles

_Key = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)


@implementer(IOpenSSLServerConnectionCreator)
class ServerCertificates:
    """Makes the TLS side of each new connection; TLS 1.2 is the floor.

    Connections keep the certificates with which they began.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Load `files`; raises `BadCertificate`."""
        self.files = files
        self._context = load_context(files)

    def reload(self) -> None:
        """Load the files again for connections to come.

        Raises `BadCertificate`; then nothing has changed.
        """
        self._context = load_context(self.files)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return the OpenSSL object of a new connection."""
        return SSL.Connection(self._context, None)


def load_context(files: TlsFiles) -> SSL.Context:
    """Make the context of `files`; raises `BadCertificate`."""
    key = _load_key(files.key)
    chain = _load_certificates(files.certificate)
    # A context made with a key that does not match fails only at the first handshake.
    if chain[0].public_key() != key.public_key():
        raise BadCertificate(f"the key {files.key} does not match {files.certificate}")
    trust = None
    if files.authority is not None:
        authorities = _load_certificates(files.authority)
        trust = trustRootFromCertificates(
            [Certificate(crypto.X509.from_cryptography(authority)) for authority in authorities]
        )
    try:
        options = CertificateOptions(
            privateKey=crypto.PKey.from_cryptography_key(key),
            certificate=crypto.X509.from_cryptography(chain[0]),
            extraCertChain=[crypto.X509.from_cryptography(link) for link in chain[1:]],
            trustRoot=trust,
            acceptableProtocols=[b"http/1.1"],
        )
        context: SSL.Context = options.getContext()
    except (SSL.Error, crypto.Error, TypeError, ValueError) as error:
        raise BadCertificate(f"cannot use {files.certificate}: {_reason(error)}") from None
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    if trust is not None:
        # A ticket would let a client in whose certificate is not looked at again. Over 1.3 OpenSSL
        # sends tickets all the same (pyOpenSSL has no call for their number), but they only name
        # sessions in a cache that is off: nothing can be resumed with them.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"open {path}: {error.strerror}") from None


def _load_key(path: Path) -> _Key:
    try:
        key = load_pem_private_key(_read(path), password=None)
    except TypeError:
        raise BadCertificate(f"the key {path} is encrypted") from None
    except ValueError:
        raise BadCertificate(f"{path} holds no private key (PEM)") from None
    if not isinstance(key, _Key):
        raise BadCertificate(f"the key {path} is of a kind that cannot sign")
    return key


def _load_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise BadCertificate(f"{path} holds no certificate (PEM)") from None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
