"""Unix sockets: their mode and group, stale and live ones, and their end."""

from __future__ import annotations

import grp
import os
import socket
import stat
import tempfile
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.server.hosts import BadHost
from dockerapi.server.unixsocket import BoundSocket, group_id


class BoundSocketTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-unix-")
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "d.sock")

    def bind(self, gid: int | None = None) -> BoundSocket:
        bound = BoundSocket(f"unix://{self.path}", self.path, gid, 16)
        self.addCleanup(bound.socket.close)
        return bound

    def refused(self) -> str:
        return self.assertRaises(BadHost, self.bind).message

    def test_mode_and_group(self) -> None:
        gid = grp.getgrnam("daemon").gr_gid if os.geteuid() == 0 else os.getegid()
        self.bind(gid)
        found = os.stat(self.path)
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o660)
        self.assertEqual(found.st_gid, gid)

    def test_no_moment_is_open(self) -> None:
        seen: list[int] = []
        real = os.chmod

        def chmod(path: str, mode: int) -> None:
            seen.append(stat.S_IMODE(os.stat(path).st_mode))
            with socket.socket(socket.AF_UNIX) as early:
                self.assertRaises(ConnectionRefusedError, early.connect, path)
            real(path, mode)

        old = os.umask(0)
        self.addCleanup(os.umask, old)
        with patch("dockerapi.server.unixsocket.os.chmod", chmod):
            self.bind()
        self.assertEqual(seen, [0])

    def test_replaces_a_stale_socket(self) -> None:
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.path)
            stale.listen()
        self.bind()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)

    def test_refuses_a_live_socket(self) -> None:
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(self.path)
            live.listen()
            self.assertIn("already in use", self.refused())
            self.assertIn(self.path, self.refused())

    def test_refuses_a_live_socket_whose_queue_is_full(self) -> None:
        with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as waiting:
            live.bind(self.path)
            live.listen(0)
            waiting.connect(self.path)
            self.assertIn("already in use", self.refused())

    def test_refuses_a_file(self) -> None:
        with open(self.path, "w") as file:
            file.write("precious")
        self.assertIn("no socket", self.refused())
        with open(self.path) as file:
            self.assertEqual(file.read(), "precious")

    def test_refuses_a_symbolic_link(self) -> None:
        os.symlink("/etc/passwd", self.path)
        self.assertIn("no socket", self.refused())

    def test_refuses_a_missing_directory(self) -> None:
        self.path = os.path.join(os.path.dirname(self.path), "none", "d.sock")
        self.assertIn("no such file or directory", self.refused())

    def test_leaves_nothing_behind_when_it_fails(self) -> None:
        with patch("dockerapi.server.unixsocket.os.chmod", side_effect=PermissionError(1, "No")):
            self.refused()
        self.assertFalse(os.path.lexists(self.path))

    def test_removes_its_own_file_only(self) -> None:
        first = self.bind()
        os.unlink(self.path)
        second = self.bind()
        first.remove()
        self.assertTrue(os.path.exists(self.path))
        second.remove()
        self.assertFalse(os.path.exists(self.path))


class GroupTests(SynchronousTestCase):
    def test_by_name_number_and_none(self) -> None:
        self.assertEqual(group_id("h", "daemon"), grp.getgrnam("daemon").gr_gid)
        self.assertEqual(group_id("h", "4711"), 4711)
        self.assertIsNone(group_id("h", ""))

    def test_only_docker_may_be_missing(self) -> None:
        with patch("dockerapi.server.unixsocket.grp.getgrnam", side_effect=KeyError("x")):
            self.assertIsNone(group_id("h", "docker"))
            error = self.assertRaises(BadHost, group_id, "unix:///x", "nobody-here")
        self.assertEqual(error.message, "cannot listen on unix:///x: group nobody-here not found")
