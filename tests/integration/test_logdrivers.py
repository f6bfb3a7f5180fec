"""Log drivers of a real server: receivers that go away, kill -9, and dockerd's answers."""

from __future__ import annotations

import contextlib
import socket
import threading

import msgspec

from tests.integration.server import wait_until
from tests.integration.test_logs import LogsCase


class Receiver:
    """Takes GELF over TCP; `texts` are the messages' texts."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.texts: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as file:
                self._take(file.read1)

    def _take(self, read: object) -> None:
        assert callable(read)
        rest = b""
        with contextlib.suppress(ConnectionResetError):
            while data := read(65536):
                *parts, rest = (rest + data).split(b"\0")
                self.texts += [msgspec.json.decode(part)["short_message"] for part in parts]


class DriversTests(LogsCase):
    def setUp(self) -> None:
        super().setUp()
        self.receiver = Receiver()
        self.addCleanup(self.receiver.close)
        address = f"gelf-address=tcp://127.0.0.1:{self.receiver.port}"
        self.gelf = ("--log-driver", "gelf", "--log-opt", address)

    def test_kill_loses_nothing(self) -> None:
        script = "i=0; while [ $i -lt 400 ]; do echo $i; i=$((i+1)); sleep 0.01; done"
        self.start(script, *self.gelf)
        for _ in range(3):
            count = len(set(self.receiver.texts)) + 30
            self.assertTrue(wait_until(lambda count=count: len(set(self.receiver.texts)) > count))
            self.server.kill()
            self.server.start()
        self.assertTrue(wait_until(self.ended))
        self.assertTrue(wait_until(lambda: "399" in self.receiver.texts))
        wanted = [str(number) for number in range(400)]
        self.assertEqual(sorted(set(self.receiver.texts), key=int), wanted)
        self.assertLess(len(self.receiver.texts), 400 + 3 * 200)
        self.assertEqual(self.server.docker("logs", "cx").decode().split(), wanted)

    def test_what_a_container_wrote_while_no_server_ran(self) -> None:
        identity = self.start("echo one; sleep 1.5; echo two", *self.gelf)
        self.assertTrue(wait_until(lambda: self.receiver.texts == ["one"]))
        self.server.stop()
        self.assertTrue(wait_until(lambda: b"two" in self.files(identity)[0].read_bytes()))
        self.assertEqual(self.receiver.texts, ["one"])
        self.server.start()
        self.assertTrue(wait_until(lambda: self.receiver.texts == ["one", "two"]))

    def test_a_cache_that_is_disabled(self) -> None:
        self.start("echo x", *self.gelf, "--log-opt", "cache-disabled=true")
        got = self.server.run("logs", "cx")
        self.assertIn(b"configured logging driver does not support reading", got.stderr)
        got = self.server.run("create", "--log-driver", "gelf", "busybox", "true")
        self.assertIn(b"gelf-address is a required parameter", got.stderr)
        plugins = self.server.docker("info", "-f", "{{.Plugins.Log}} {{.LoggingDriver}}")
        self.assertEqual(
            plugins.strip(), b"[fluentd gelf journald json-file local syslog] json-file"
        )
