"""The text of `--engine`."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import InvalidParameter
from dockerapi.upstream.target import Target
from dockerapi.upstream.tls import ClientTLS


class TargetTests(SynchronousTestCase):
    def test_unix(self) -> None:
        target = Target.parse("unix:///run/other.sock")
        self.assertEqual((target.path, target.authority), ("/run/other.sock", b"localhost"))

    def test_tcp(self) -> None:
        for text, host, port, authority in (
            ("tcp://10.0.0.1:2375", "10.0.0.1", 2375, b"10.0.0.1:2375"),
            ("tcp://build-host", "build-host", 2375, b"build-host:2375"),
            ("tcp://[::1]:99", "::1", 99, b"[::1]:99"),
        ):
            target = Target.parse(text)
            self.assertEqual((target.host, target.port, target.authority), (host, port, authority))
        self.assertEqual(Target.parse("tcp://h", tls=True).port, 2376)

    def test_refused(self) -> None:
        for text in (
            "",
            "/run/other.sock",
            "unix://",
            "unix://relative",
            "http://x",
            "tcp://",
            "tcp://:2375",
            "tcp://h:port",
            "tcp://h:99999",
            "tcp://h/path",
            "tcp://u:p@h",
            "tcp://[::1",
        ):
            error = self.assertRaises(InvalidParameter, Target.parse, text)
            self.assertIn(text, error.message)

    def test_tls_on_a_unix_socket_is_refused(self) -> None:
        target = Target.parse("unix:///run/other.sock")
        self.assertRaises(InvalidParameter, target.endpoint, MemoryReactorClock(), ClientTLS())

    def test_certificates_that_cannot_be_used_are_named(self) -> None:
        missing = Path("/nowhere/x.pem")
        empty = Path(self.mktemp())
        empty.write_text("no certificate")
        target = Target.parse("tcp://h", tls=True)
        for tls, word in (
            (ClientTLS(ca=missing), str(missing)),
            (ClientTLS(ca=empty), str(empty)),
            (ClientTLS(certificate=missing, key=missing), str(missing)),
            (ClientTLS(certificate=empty, key=empty), str(empty)),
            (ClientTLS(certificate=missing), "together"),
        ):
            error = self.assertRaises(InvalidParameter, target.endpoint, MemoryReactorClock(), tls)
            self.assertIn(word, error.message)
