"""Receivers of logs that speak TLS: who is trusted, and that nothing counts as sent to others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, PrivateCertificate

from dockerapi.local.containers.logs.drivers.message import Driver, Undelivered
from tests.local.containers.logs.drivers.test_drivers import OUT, Connection, DriverCase
from tests.server.certificates import Authority


class TlsCase(DriverCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.directory)
        self.other = Authority(self.directory, "other")

    def driver(self, name: str, options: Mapping[str, str]) -> Driver:
        made: Any = super().driver(name, options)

        async def closed() -> None:
            connection = made._stream._connection
            made.close()
            await self.until(lambda: connection is None or connection.lost)

        self.addCleanup(closed)
        return cast(Driver, made)

    async def receiver(self, *, wants: Authority | None = None) -> Any:
        """Return a receiver which, where it `wants` that, admits only clients of an authority."""
        certificate, key = self.authority.issue("receiver")
        own = PrivateCertificate.loadPEM(key.read_bytes() + certificate.read_bytes())
        trusted = () if wants is None else (Certificate.loadPEM(wants.path.read_bytes()),)
        factory: Any = Factory.forProtocol(Connection)
        factory.got, factory.answer = b"", None
        endpoint = SSL4ServerEndpoint(reactor, 0, own.options(*trusted), interface="127.0.0.1")
        listening = await endpoint.listen(factory)
        self.addCleanup(listening.stopListening)
        factory.port = listening.getHost().port
        return factory


class SyslogTlsTests(TlsCase):
    def to(self, receiver: Any, host: str = "localhost", **files: Path | str) -> Driver:
        options = {f"syslog-tls-{name.replace('_', '-')}": str(v) for name, v in files.items()}
        return self.driver(
            "syslog",
            {
                "syslog-address": f"tcp+tls://{host}:{receiver.port}",
                "syslog-format": "rfc5424",
                **options,
            },
        )

    async def refused(self, driver: Driver) -> str:
        with self.assertRaises(Undelivered) as raised:
            await driver.send([OUT])
        return str(raised.exception)

    async def test_one_that_is_trusted(self) -> None:
        receiver = await self.receiver()
        driver = self.to(receiver, ca_cert=self.authority.path)
        await driver.send([OUT])
        await driver.send([OUT])
        await self.until(lambda: receiver.got.count(b"one\n") == 2)
        # Octets are counted (RFC 5425, 4.3).
        length, _, rest = receiver.got.partition(b" ")
        self.assertEqual(rest[int(length) :].partition(b" ")[0], length)

    async def test_one_that_nobody_knows(self) -> None:
        receiver = await self.receiver()
        words = await self.refused(self.to(receiver, ca_cert=self.other.path))
        self.assertIn("certificate verify failed", words)
        self.assertEqual(receiver.got, b"")
        # By the host's own authorities neither.
        await self.refused(self.to(receiver))
        self.assertEqual(receiver.got, b"")

    async def test_one_by_another_name(self) -> None:
        receiver = await self.receiver()
        driver = self.to(receiver, "127.0.0.2", ca_cert=self.authority.path)
        self.assertNotEqual(await self.refused(driver), "")
        self.assertEqual(receiver.got, b"")

    async def test_one_that_is_not_to_be_verified(self) -> None:
        receiver = await self.receiver()
        await self.to(receiver, skip_verify="1").send([OUT])
        await self.until(lambda: receiver.got.endswith(b"one\n"))

    async def test_one_that_wants_to_know_us(self) -> None:
        receiver = await self.receiver(wants=self.other)
        certificate, key = self.other.issue("client")
        for trust in ({"ca_cert": self.authority.path}, {"skip_verify": "1"}):
            receiver.got = b""
            await self.to(receiver, cert=certificate, key=key, **trust).send([OUT])
            await self.until(lambda: receiver.got.endswith(b"one\n"))

    async def test_one_that_speaks_no_tls(self) -> None:
        receiver = await self.stream(lambda _: b"what?\n")
        await self.refused(self.to(receiver, ca_cert=self.authority.path))

    def test_files_that_are_no_certificates(self) -> None:
        text = self.directory / "text"
        text.write_text("no certificate")
        options = {"syslog-address": "tcp+tls://localhost:1", "syslog-tls-ca-cert": str(text)}
        error = self.assertRaises(ValueError, self.driver, "syslog", options)
        self.assertIn("TLS of the log driver", str(error))


class FluentdTlsTests(TlsCase):
    async def test_by_the_hosts_own_authorities(self) -> None:
        receiver = await self.receiver()
        address = {"fluentd-address": f"tls://localhost:{receiver.port}"}
        with self.assertRaises(Undelivered):
            await self.driver("fluentd", address).send([OUT])
        self.assertEqual(receiver.got, b"")
