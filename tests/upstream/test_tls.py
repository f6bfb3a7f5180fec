"""Forwarding over TLS: the server's name and both certificates are verified."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    trustRootFromCertificates,
)

from dockerapi.engine.answers import Hijack
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Unavailable
from dockerapi.upstream.backend import UpstreamBackend
from dockerapi.upstream.tls import ClientTLS
from tests.serving import serve
from tests.upstream.scripted import ClientStream, UpstreamTestCase, reactor, until


class Authority:
    """Makes certificates, in files of `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self.name, self.key.public_key(), None)
        self.path = directory / "ca.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name: x509.Name, key: Any, address: str | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(address is None, None), critical=True)
        )
        if address is not None:
            names = [x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name: str, address: str) -> tuple[Path, Path]:
        """Return the files of a certificate for `address` and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key.public_key(), address)
        paths = (self.directory / f"{name}.pem", self.directory / f"{name}-key.pem")
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths


class TLSTests(UpstreamTestCase):
    def listen(self, address: str) -> ClientTLS:
        """Listen with a certificate for `address` and one of a client's; return that client's."""
        directory = Path(self.mktemp())
        directory.mkdir()
        authority = Authority(directory)
        certificate, key = authority.issue("server", address)
        ours = PrivateCertificate.loadPEM(key.read_bytes() + certificate.read_bytes())
        options = CertificateOptions(
            privateKey=ours.privateKey.original,
            certificate=ours.original,
            trustRoot=trustRootFromCertificates([Certificate.loadPEM(authority.path.read_bytes())]),
        )
        port = reactor.listenSSL(0, self.upstream, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        mine = authority.issue("client", "127.0.0.9")
        return ClientTLS(ca=authority.path, certificate=mine[0], key=mine[1])

    def forward(self, tls: ClientTLS | None) -> None:
        self.backend = UpstreamBackend(f"tcp://127.0.0.1:{self.port}", reactor, tls=tls)
        self.engine = Engine(logging=False)
        self.backend.register(self.engine)
        self.engine.activation.activate()

    async def test_both_verified(self) -> None:
        self.forward(self.listen("127.0.0.1"))
        for _ in range(2):
            run = self.run_job()
            side = await self.upstream.side()
            await side.request()
            side.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            self.assertEqual((await run).body, b"ok")
        self.assertEqual(len(self.upstream.sides), 1)

    async def test_another_name_is_refused(self) -> None:
        self.forward(self.listen("127.0.0.2"))
        await self.assertFailure(self.run_job(), Unavailable)
        self.assertEqual([side.seen for side in self.upstream.sides], [b""])

    async def test_another_authority_is_refused(self) -> None:
        self.listen("127.0.0.1")
        self.forward(ClientTLS(ca=Authority(Path(self.mktemp_directory())).path))
        await self.assertFailure(self.run_job(), Unavailable)
        self.assertEqual([side.seen for side in self.upstream.sides], [b""])

    async def test_without_our_certificate_the_upstream_refuses(self) -> None:
        self.forward(ClientTLS(ca=self.listen("127.0.0.1").ca))
        await self.assertFailure(self.run_job(), Unavailable)

    async def test_a_large_body_and_a_hijack_with_its_half_close(self) -> None:
        self.forward(self.listen("127.0.0.1"))
        run = self.run_job("ContainerAttach", "POST", "/containers/x/attach")
        side = await self.upstream.side()
        await side.request()
        side.say(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        answer = await run
        assert isinstance(answer, Hijack)
        client = ClientStream(*[b"x" * 100000] * 20, b"")
        served = serve(answer, client)
        await until(lambda: side.ended)
        self.assertEqual(len(side.seen), 2000000)
        await served

    def mktemp_directory(self) -> str:
        directory = Path(self.mktemp())
        directory.mkdir()
        return str(directory)
