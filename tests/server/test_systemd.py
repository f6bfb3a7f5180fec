"""What init passes and hears: inherited sockets, sd_notify, the watchdog."""

from __future__ import annotations

import os
import socket
import tempfile
import uuid

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.server.hosts import BadHost
from dockerapi.server.systemd import InheritedSockets, Init, take_variables


class VariablesTests(SynchronousTestCase):
    def test_are_taken_out(self) -> None:
        environ = {"LISTEN_FDNAMES": "a", "NOTIFY_SOCKET": "/x", "HOME": "/root"}
        initial = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "NOTIFY_SOCKET": "/old"}
        found = take_variables(environ, initial)
        self.assertEqual(environ, {"HOME": "/root"})
        self.assertEqual(
            found,
            {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a", "NOTIFY_SOCKET": "/x"},
        )

    def test_sockets_are_ours_by_pid_only(self) -> None:
        variables = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "api:api"}
        self.assertEqual(InheritedSockets.from_variables(variables, 7).names, {3: "api", 4: "api"})
        self.assertEqual(InheritedSockets.from_variables(variables, 8).names, {})
        for count in ("", "x", "0", "-1", "99999999"):
            variables["LISTEN_FDS"] = count
            self.assertEqual(InheritedSockets.from_variables(variables, 7).names, {})

    def test_names_may_be_missing(self) -> None:
        variables = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "api"}
        self.assertEqual(InheritedSockets.from_variables(variables, 7).names, {3: "api", 4: ""})


class SelectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sockets = InheritedSockets({3: "api", 4: "tls", 5: "api"})

    def test_selects(self) -> None:
        for selector, expected in [("*", [3, 4, 5]), ("4", [4]), ("api", [3, 5])]:
            self.assertEqual(self.sockets.select("fd://", selector), expected)

    def test_refuses(self) -> None:
        for selector, words in [
            ("9", "Too few socket activated files passed in"),
            ("nope", "LISTEN_FDNAMES: api, tls"),
        ]:
            error = self.assertRaises(BadHost, self.sockets.select, f"fd://{selector}", selector)
            self.assertIn(words, error.message)
            self.assertIn(f"fd://{selector}", error.message)
        error = self.assertRaises(BadHost, InheritedSockets({}).select, "fd://", "*")
        self.assertIn("No sockets found", error.message)


class TakeTests(SynchronousTestCase):
    def descriptor(self, made: socket.socket) -> int:
        descriptor = made.detach()
        self.addCleanup(_close, descriptor)
        return descriptor

    def refused(self, descriptor: int) -> str:
        sockets = InheritedSockets({descriptor: ""})
        message = self.assertRaises(BadHost, sockets.take, "fd://x", descriptor).message
        os.fstat(descriptor)
        return message

    def test_takes_a_listening_socket_once(self) -> None:
        listening = socket.socket()
        listening.listen()
        descriptor = listening.detach()
        sockets = InheritedSockets({descriptor: ""})
        with sockets.take("fd://", descriptor) as taken:
            self.assertFalse(taken.getblocking())
            self.assertFalse(taken.get_inheritable())
            self.assertIn(
                "another host",
                self.assertRaises(BadHost, sockets.take, "fd://", descriptor).message,
            )

    def test_refuses_what_does_not_listen(self) -> None:
        self.assertIn("no listening socket", self.refused(self.descriptor(socket.socket())))

    def test_refuses_datagrams(self) -> None:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.assertIn("no stream socket", self.refused(self.descriptor(made)))

    def test_refuses_other_families(self) -> None:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self.assertIn("another family", self.refused(self.descriptor(made)))

    def test_refuses_files(self) -> None:
        with tempfile.TemporaryFile() as file:
            self.assertIn("no socket", self.refused(file.fileno()))


class InitTests(SynchronousTestCase):
    def listen(self, address: str) -> socket.socket:
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(notify.close)
        notify.bind("\0" + address[1:] if address.startswith("@") else address)
        return notify

    def test_tells_by_an_abstract_socket(self) -> None:
        address = f"@dockerapi-{uuid.uuid4()}"
        notify = self.listen(address)
        init = Init.from_variables({"NOTIFY_SOCKET": address}, 1)
        init.ready()
        self.assertIn(b"READY=1", notify.recv(999).split(b"\n"))
        init.status("no\ndisk")
        self.assertEqual(notify.recv(999), b"STATUS=no disk")
        init.reloading()
        reloading, monotonic = notify.recv(999).split(b"\n")
        self.assertEqual(reloading, b"RELOADING=1")
        self.assertGreater(int(monotonic.removeprefix(b"MONOTONIC_USEC=")), 0)
        init.stopping()
        self.assertIn(b"STOPPING=1", notify.recv(999))

    def test_tells_by_a_path(self) -> None:
        with tempfile.TemporaryDirectory(prefix="dockerapi-init-") as directory:
            notify = self.listen(f"{directory}/notify")
            Init(f"{directory}/notify").ready()
            self.assertIn(b"READY=1", notify.recv(999))

    def test_is_silent_without_init(self) -> None:
        clock = Clock()
        init = Init.from_variables({"WATCHDOG_USEC": "1000000"}, 1)
        init.ready()
        init.start_watchdog(clock)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_beats_at_half_of_the_watchdogs_time(self) -> None:
        address = f"@dockerapi-{uuid.uuid4()}"
        notify = self.listen(address)
        variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "5"}
        clock = Clock()
        Init.from_variables(variables, 6).start_watchdog(clock)
        self.assertEqual(clock.getDelayedCalls(), [])
        init = Init.from_variables(variables, 5)
        init.start_watchdog(clock)
        for _ in range(3):
            self.assertEqual(notify.recv(99), b"WATCHDOG=1")
            self.assertRaises(BlockingIOError, notify.recv, 99)
            clock.advance(1.5)
        init.stop_watchdog()
        self.assertEqual(clock.getDelayedCalls(), [])


def _close(descriptor: int) -> None:
    os.close(descriptor)
