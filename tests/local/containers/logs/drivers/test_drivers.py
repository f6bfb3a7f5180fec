"""Log drivers with real receivers: what arrives, over each kind of connection."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, cast

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, UNIXServerEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from dockerapi.local.containers.logs.drivers import feed, journald, sending
from dockerapi.local.containers.logs.drivers.catalogue import KINDS
from dockerapi.local.containers.logs.drivers.feed import Feed, cursor_path, read_cursor
from dockerapi.local.containers.logs.drivers.message import Driver, Message, Origin, Undelivered
from dockerapi.local.containers.logs.spool.changes import Changes
from dockerapi.local.containers.logs.spool.files import Cursor, LogFiles
from tests.local.containers.logs.spool.support import line
from tests.local.leaving import descriptors, leave

ORIGIN = Origin(
    id="1f" * 32,
    name="cx",
    image="sha256:" + "ab" * 32,
    image_name="busybox",
    command="sh -c x",
    created_at=0,
    hostname="host",
    tag="1f1f",
    attributes={"a": "1"},
)
#: 2026-11-24T20:00:00.123456789Z
MOMENT = 1795550400_123456789
OUT, ERROR = Message(MOMENT, 1, b"one"), Message(MOMENT, 2, b"two")


class Received(DatagramProtocol):
    """Keeps datagrams."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def datagramReceived(self, datagram: bytes, _: object) -> None:
        self.got.append(datagram)


def has(receiver: Any, data: bytes) -> bool:
    """Tell whether `data` has come to `receiver`."""
    return data in receiver.got


class Connection(Protocol):
    """Keeps what is sent in its factory, and answers what that says."""

    factory: Any

    def dataReceived(self, data: bytes) -> None:
        self.factory.got += data
        if self.factory.answer is not None:
            self.transport.write(self.factory.answer(data))


class DriverCase(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dockerapi-log-"))
        self.addCleanup(shutil.rmtree, self.directory)

    def driver(self, name: str, options: Mapping[str, str]) -> Driver:
        made = KINDS[name].make(options, ORIGIN, reactor)
        self.addCleanup(made.close)
        return made

    def udp(self) -> tuple[Received, int]:
        received = Received()
        port = cast(Any, reactor).listenUDP(0, received, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return received, port.getHost().port

    async def stream(
        self, answer: Callable[[bytes], bytes] | None = None, *, port: int = 0, path: str = ""
    ) -> Any:
        factory: Any = Factory.forProtocol(Connection)
        factory.got, factory.answer = b"", answer
        endpoint: Any = (
            UNIXServerEndpoint(reactor, path)
            if path
            else TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
        )
        listening = await endpoint.listen(factory)
        self.addCleanup(listening.stopListening)
        factory.port = None if path else listening.getHost().port
        return factory

    async def until(self, true: Callable[[], object]) -> None:
        while not true():
            await deferLater(reactor, 0.01)


class SyslogTests(DriverCase):
    async def test_udp(self) -> None:
        received, port = self.udp()
        driver = self.driver("syslog", {"syslog-address": f"udp://127.0.0.1:{port}"})
        await driver.send([OUT, ERROR])
        await self.until(lambda: len(received.got) == 2)
        self.assertRegex(received.got[0], rb"^<30>Nov 2\d \d\d:00:00 1f1f\[\d+\]: one\n$")
        self.assertRegex(received.got[1], rb"^<27>.*: two\n$")

    async def test_tcp_and_formats(self) -> None:
        head = rb"<134>1 2026-11-24T20:00:00"
        for name, pattern in (
            ("rfc3164", rb"^<134>Nov 2\d \d\d:00:00 host 1f1f\[\d+\]: one\n$"),
            ("rfc5424", head + rb"Z host 1f1f \d+ 1f1f - one\n$"),
            ("rfc5424micro", head + rb"\.123456Z host 1f1f \d+ 1f1f - one\n$"),
        ):
            receiver = await self.stream()
            address = f"tcp://127.0.0.1:{receiver.port}"
            options = {"syslog-address": address, "syslog-facility": "local0"}
            await self.driver("syslog", {**options, "syslog-format": name}).send([OUT])
            await self.until(partial(has, receiver, b"\n"))
            self.assertRegex(receiver.got, pattern)

    async def test_unix(self) -> None:
        path = str(self.directory / "s")
        receiver = await self.stream(path=path)
        await self.driver("syslog", {"syslog-address": f"unix://{path}"}).send([OUT])
        await self.until(lambda: receiver.got.endswith(b": one\n"))

    def test_files_of_tls_that_never_end(self) -> None:
        fifo, long = self.directory / "fifo", self.directory / "long"
        os.mkfifo(fifo)
        long.write_bytes(b"x" * 300_000)
        before = descriptors()
        for path in (fifo, long, "/dev/zero", self.directory):
            options = {
                "syslog-address": "tcp+tls://127.0.0.1:1",
                "syslog-tls-ca-cert": str(path),
            }
            error = self.assertRaises(ValueError, self.driver, "syslog", options)
            self.assertIn(str(path), str(error))
        self.assertEqual(descriptors(), before)


class GelfTests(DriverCase):
    async def test_udp_compressed_and_in_chunks(self) -> None:
        received, port = self.udp()
        address = {"gelf-address": f"udp://127.0.0.1:{port}"}
        await self.driver("gelf", address).send([OUT])
        await self.until(lambda: received.got)
        self.assertEqual(
            msgspec.json.decode(gzip.decompress(received.got[0])),
            {
                "version": "1.1",
                "host": "host",
                "short_message": "one",
                "timestamp": 1795550400.123,
                "level": 6,
                "_container_id": ORIGIN.id,
                "_container_name": "cx",
                "_image_id": ORIGIN.image,
                "_image_name": "busybox",
                "_command": "sh -c x",
                "_tag": "1f1f",
                "_created": "1970-01-01T00:00:00Z",
                "_a": "1",
            },
        )
        received.got.clear()
        plain = self.driver("gelf", {**address, "gelf-compression-type": "none"})
        await plain.send([Message(MOMENT, 2, b"x" * 5000)])
        await self.until(lambda: len(received.got) == 4)
        self.assertEqual({part[:2] for part in received.got}, {b"\x1e\x0f"})
        self.assertEqual([part[10:12] for part in received.got], [bytes((n, 4)) for n in range(4)])
        whole = msgspec.json.decode(b"".join(part[12:] for part in received.got))
        self.assertEqual((whole["short_message"], whole["level"]), ("x" * 5000, 3))
        received.got.clear()
        packed = self.driver("gelf", {**address, "gelf-compression-type": "zlib"})
        await packed.send([OUT])
        await self.until(lambda: received.got)
        self.assertIn(b'"one"', zlib.decompress(received.got[0]))

    async def test_tcp(self) -> None:
        receiver = await self.stream()
        address = {"gelf-address": f"tcp://127.0.0.1:{receiver.port}"}
        await self.driver("gelf", address).send([OUT, Message(MOMENT, 1, b""), ERROR])
        await self.until(lambda: receiver.got.count(b"\0") == 2)
        texts = [
            msgspec.json.decode(part)["short_message"] for part in receiver.got.split(b"\0")[:2]
        ]
        self.assertEqual(texts, ["one", "two"])


class FluentdTests(DriverCase):
    async def test_a_message(self) -> None:
        receiver = await self.stream()
        driver = self.driver("fluentd", {"fluentd-address": f"127.0.0.1:{receiver.port}"})
        await driver.send([Message(MOMENT, 2, b"two", whole=False)])
        await self.until(lambda: receiver.got)
        record = {
            "container_id": ORIGIN.id,
            "container_name": "/cx",
            "source": "stderr",
            "log": "two",
            "a": "1",
            "partial_message": "true",
        }
        self.assertEqual(msgspec.msgpack.decode(receiver.got), ["1f1f", 1795550400, record])

    async def test_acknowledgements(self) -> None:
        def answer(data: bytes) -> bytes:
            return msgspec.msgpack.encode({"ack": msgspec.msgpack.decode(data)[3]["chunk"]})

        path = str(self.directory / "s")
        receiver = await self.stream(answer, path=path)
        options = {"fluentd-request-ack": "true", "fluentd-sub-second-precision": "1"}
        driver = self.driver("fluentd", {"fluentd-address": f"unix://{path}", **options})
        await driver.send([OUT, ERROR])
        self.assertEqual(receiver.got.count(b"container_id"), 2)
        self.assertIn(
            b"\xd7\x00" + (1795550400).to_bytes(4) + (123456789).to_bytes(4), receiver.got
        )

    async def test_an_acknowledgement_without_end(self) -> None:
        # A map whose keys never come whole.
        receiver = await self.stream(lambda _: b"\x81\xdb\xff\xff\xff\xff" + b"x" * 5000)
        options = {"fluentd-address": f"127.0.0.1:{receiver.port}", "fluentd-request-ack": "1"}
        task = Deferred.fromCoroutine(self.driver("fluentd", options).send([OUT]))
        await self.assertFailure(task, Undelivered)


class SendingTests(DriverCase):
    async def test_who_gives_up_connecting_is_told_so(self) -> None:
        class Nowhere:
            def connect(self, _: object) -> Deferred[None]:
                return Deferred()

        stream = sending.Stream(cast(Any, Nowhere()), reactor)
        task = Deferred.fromCoroutine(stream.send(b"x"))
        task.cancel()
        await self.assertFailure(task, CancelledError)

    async def test_a_socket_made_for_nobody_is_closed(self) -> None:
        made: list[socket.socket] = []

        def connected(address: object) -> socket.socket:
            time.sleep(0.1)
            made.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            return made[0]

        self.patch(sending, "_connected", connected)
        datagrams = sending.Datagrams("/none", reactor)
        task = Deferred.fromCoroutine(datagrams.send([b"x"]))
        task.cancel()
        await self.assertFailure(task, CancelledError)
        datagrams.close()
        self.assertEqual([one.fileno() for one in made], [-1])


class JournaldTests(DriverCase):
    async def test_an_entry(self) -> None:
        path = self.directory / "socket"
        received = Received()
        port = cast(Any, reactor).listenUNIXDatagram(str(path), received)
        self.addCleanup(port.stopListening)
        self.patch(journald, "SOCKET", path)
        await self.driver("journald", {}).send([OUT, Message(MOMENT, 2, b"x\nUSER=root")])
        await self.until(lambda: len(received.got) == 2)
        fields = dict(re.findall(rb"([A-Z_]+)=(.*)\n", received.got[0]))
        self.assertEqual((fields[b"MESSAGE"], fields[b"PRIORITY"]), (b"one", b"6"))
        self.assertEqual((fields[b"CONTAINER_NAME"], fields[b"A"]), (b"cx", b"1"))
        self.assertTrue(
            received.got[1].startswith(b"MESSAGE\n" + (11).to_bytes(8, "little") + b"x\nUSER")
        )

    def test_no_journal(self) -> None:
        self.patch(journald, "SOCKET", self.directory / "none")
        error = self.assertRaises(ValueError, journald.make, {}, ORIGIN, reactor)
        self.assertEqual(str(error), "journald is not enabled on this host")


class FeedTests(DriverCase):
    def closed(self, driver: Driver) -> list[None]:
        """Return a list that grows when `driver` is closed: by a failure, or its feed's end."""
        closed: list[None] = []
        close = driver.close

        def note() -> None:
            closed.append(None)
            close()

        self.patch(driver, "close", note)
        return closed

    async def test_a_receiver_that_comes_late_and_a_server_that_ends(self) -> None:
        files = LogFiles(self.directory / "container.log")
        changes = Changes(reactor)
        self.addCleanup(changes.stop)
        receiver = await self.stream()
        address = {"gelf-address": f"tcp://127.0.0.1:{receiver.port}"}

        def write(*texts: bytes) -> None:
            with files.path.open("ab") as file:
                file.write(b"".join(line(1, "F", text) for text in texts))

        def texts() -> list[str]:
            parts = receiver.got.split(b"\0")[:-1]
            return [msgspec.json.decode(part)["short_message"] for part in parts]

        write(b"one", b"two")
        driver = self.driver("gelf", address)
        closed = self.closed(driver)
        first = Feed(files, driver, changes, reactor)
        first.start()
        await self.until(lambda: len(texts()) == 2)
        write(b"three")
        await self.until(lambda: len(texts()) == 3)
        first.stop()
        await self.until(lambda: closed)
        self.assertEqual(read_cursor(cursor_path(files)), files.end())
        number = files.set_aside()
        write(b"four")
        second = Feed(files, driver, changes, reactor)
        second.start()
        second.end()
        await self.until(lambda: len(closed) == 2 and len(texts()) == 4)
        self.assertEqual(texts(), ["one", "two", "three", "four"])
        self.assertEqual(read_cursor(cursor_path(files)), Cursor(number + 1, 50))
        self.assertEqual(files.end(), Cursor(number + 1, 50))

    async def test_messages_wait_for_a_receiver_that_is_away(self) -> None:
        files = LogFiles(self.directory / "container.log")
        changes = Changes(reactor)
        self.addCleanup(changes.stop)
        files.path.write_bytes(line(1, "F", b"one"))
        path = str(self.directory / "s")
        driver = self.driver("fluentd", {"fluentd-address": f"unix://{path}"})
        closed = self.closed(driver)
        waiting = Feed(files, driver, changes, reactor)
        waiting.start()
        waiting.end()
        await self.until(lambda: closed)
        receiver = await self.stream(path=path)
        await self.until(lambda: len(closed) > 1 and b"one" in receiver.got)

    async def test_a_full_disk_repeats_but_loses_nothing(self) -> None:
        files = LogFiles(self.directory / "container.log")
        changes = Changes(reactor)
        self.addCleanup(changes.stop)
        receiver = await self.stream()
        options = {"fluentd-address": f"127.0.0.1:{receiver.port}"}
        # A directory in its place: the cursor cannot be written, whoever runs the test.
        cursor_path(files).with_suffix(".new").mkdir()
        self.patch(feed, "_AGE", 0.0)
        driver = self.driver("fluentd", options)
        closed = self.closed(driver)
        sending = Feed(files, driver, changes, reactor)
        sending.start()
        for text in (b"one", b"two"):
            with files.path.open("ab") as file:
                file.write(line(1, "F", text))
            changes.tell(files.path)
            await self.until(partial(has, receiver, text))
        cursor_path(files).with_suffix(".new").rmdir()
        sending.end()
        await self.until(lambda: closed)
        self.assertEqual(read_cursor(cursor_path(files)), files.end())

    async def test_a_feed_that_is_stopped_at_any_moment_leaves_nothing_open(self) -> None:
        files = LogFiles(self.directory / "container.log")
        changes = Changes(reactor)
        self.addCleanup(changes.stop)
        changes.tell(files.path)
        for _ in range(2):
            files.path.write_bytes(line(1, "F", b"x" * 100))
            files.compress(files.set_aside())
        files.path.write_bytes(line(1, "F", b"x"))

        class Nobody:
            def __init__(self) -> None:
                self.left = Deferred[None]()

            async def send(self, _: object) -> None:
                pass

            def close(self) -> None:
                self.left.callback(None)

        async def feed_all() -> None:
            nobody = Nobody()
            sending = Feed(files, nobody, changes, reactor)
            sending.start()
            sending.end()
            try:
                await nobody.left
            except CancelledError:
                nobody.left = Deferred()
                sending.stop()
                await nobody.left
                raise

        await feed_all()
        before, number = descriptors(), 1
        while await leave(self, feed, number, feed_all):
            self.assertEqual(descriptors(), before)
            cursor_path(files).unlink(missing_ok=True)
            number += 1
        self.assertGreater(number, 6)

    async def test_a_container_that_starts_again_at_the_last_moment(self) -> None:
        files = LogFiles(self.directory / "container.log")
        changes = Changes(reactor)
        self.addCleanup(changes.stop)
        receiver = await self.stream()
        options = {"fluentd-address": f"127.0.0.1:{receiver.port}"}
        driver = self.driver("fluentd", options)
        closed = self.closed(driver)
        sending = Feed(files, driver, changes, reactor)
        write, again = feed.write_cursor, Event()
        writes: list[Cursor] = []

        def written(path: Path, cursor: Cursor) -> None:
            write(path, cursor)
            writes.append(cursor)
            # The first is for what was sent, the second says that all was.
            if len(writes) == 2:
                cast(Any, reactor).callFromThread(sending.start)
                cast(Any, reactor).callFromThread(again.set)
                again.wait(60)

        self.patch(feed, "write_cursor", written)
        files.path.write_bytes(line(1, "F", b"one"))
        sending.start()
        sending.end()
        await self.until(again.is_set)
        with files.path.open("ab") as file:
            file.write(line(1, "F", b"two"))
        sending.end()
        await self.until(lambda: closed and b"two" in receiver.got)
