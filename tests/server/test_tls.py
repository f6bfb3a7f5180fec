"""Certificates: what is refused at load, who is let in, and reloading."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from dockerapi.server.certificatefiles import BadCertificate, TlsFiles
from dockerapi.server.tls import ServerCertificates
from tests.server.certificates import Authority


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-tls-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.authority = Authority(self.directory)
        self.files = TlsFiles(*self.authority.issue("server"), self.authority.path)

    def refused(self, files: TlsFiles) -> str:
        message = self.assertRaises(BadCertificate, ServerCertificates, files).message
        self.assertEqual(len(message.splitlines()), 1)
        return message

    def test_refuses_missing_files(self) -> None:
        missing = self.directory / "none.pem"
        for files in (
            TlsFiles(missing, self.files.key, None),
            TlsFiles(self.files.certificate, missing, None),
            TlsFiles(self.files.certificate, self.files.key, missing),
        ):
            self.assertEqual(self.refused(files), f"open {missing}: No such file or directory")

    def test_refuses_a_key_that_does_not_match(self) -> None:
        _, other = self.authority.issue("other")
        message = self.refused(TlsFiles(self.files.certificate, other, None))
        self.assertIn("does not match", message)

    def test_refuses_an_encrypted_key_without_asking(self) -> None:
        files = TlsFiles(*self.authority.issue("secret", b"passphrase"), None)
        self.assertIn("is encrypted", self.refused(files))

    def test_refuses_what_is_no_pem(self) -> None:
        garbage = self.directory / "garbage.pem"
        garbage.write_bytes(os.urandom(100))
        for files in (
            TlsFiles(garbage, self.files.key, None),
            TlsFiles(self.files.certificate, garbage, None),
            TlsFiles(self.files.certificate, self.files.key, garbage),
        ):
            self.assertIn(str(garbage), self.refused(files))

    def test_keeps_the_old_when_the_new_are_bad(self) -> None:
        certificates = ServerCertificates(self.files)
        before = certificates._context
        self.files.key.write_text("nothing")
        self.assertRaises(BadCertificate, certificates.reload)
        self.assertIs(certificates._context, before)


class HandshakeTests(TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-tls-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.authority = Authority(self.directory)
        self.client = self.authority.issue("client")

    def listen(self, *, verify: bool) -> ServerCertificates:
        authority = self.authority.path if verify else None
        certificates = ServerCertificates(TlsFiles(*self.authority.issue("server"), authority))
        factory = TLSMemoryBIOFactory(certificates, False, Factory.forProtocol(Echo))
        port = cast(Any, reactor).listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return certificates

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority.path)

    async def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        return await deferToThread(self._connect, context)

    def _connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        wrapped = context.wrap_socket(plain, server_hostname="localhost")
        self.addCleanup(wrapped.close)
        self._echo(wrapped)
        return wrapped

    @staticmethod
    def _echo(wrapped: ssl.SSLSocket) -> None:
        wrapped.sendall(b"hello")
        if wrapped.recv(16) != b"hello":
            raise ConnectionResetError("the server closed")

    async def test_uses_1_3_and_http(self) -> None:
        self.listen(verify=False)
        context = self.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        connection = await self.connect(context)
        self.assertEqual(connection.version(), "TLSv1.3")
        self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")

    async def test_floor_is_1_2(self) -> None:
        self.listen(verify=False)
        context = self.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertEqual((await self.connect(context)).version(), "TLSv1.2")
        old = self.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        await self.assertFailure(Deferred.fromCoroutine(self.connect(old)), ssl.SSLError)

    async def test_verifies_clients(self) -> None:
        self.listen(verify=True)
        context = self.context()
        context.load_cert_chain(*self.client)
        await self.connect(context)
        refused = (ssl.SSLError, ConnectionError)
        await self.assertFailure(Deferred.fromCoroutine(self.connect(self.context())), *refused)
        stranger = self.context()
        stranger.load_cert_chain(*Authority(self.directory, "other").issue("stranger"))
        await self.assertFailure(Deferred.fromCoroutine(self.connect(stranger)), *refused)

    async def test_gives_no_tickets_when_it_verifies(self) -> None:
        self.listen(verify=True)
        context = self.context()
        context.load_cert_chain(*self.client)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        session = (await self.connect(context)).session
        self.assertFalse(session is not None and session.has_ticket)

    async def test_resumes_nothing_when_it_verifies(self) -> None:
        self.listen(verify=True)
        context = self.context()
        context.load_cert_chain(*self.client)

        def resume() -> bool:
            session = self._connect(context).session
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            with context.wrap_socket(
                plain, server_hostname="localhost", session=session
            ) as connection:
                self._echo(connection)
                return bool(connection.session_reused)

        self.assertFalse(await deferToThread(resume))

    async def test_reload_serves_the_new_and_drops_nobody(self) -> None:
        certificates = self.listen(verify=False)
        before = await self.connect(self.context())
        self.authority.issue("server")
        certificates.reload()
        after = await self.connect(self.context())
        self.assertNotEqual(before.getpeercert(True), after.getpeercert(True))
        await deferToThread(self._echo, before)
