"""Rotation where the disk is full; conmon's part is played here, for it must not see that disk."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from dockerapi.local.containers.logs.spool import rotation
from dockerapi.local.containers.logs.spool.changes import Changes
from dockerapi.local.containers.logs.spool.files import LogFiles
from dockerapi.local.containers.logs.spool.rotation import Policy, Rotation


@attrs.frozen
class Rotated:
    id: str


class FullDiskTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dockerapi-log-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.files = LogFiles(self.directory / "container.log")
        self.files.path.write_bytes(b"x" * 100)
        self.failed: list[str] = []
        changes = Changes(reactor)
        self.addCleanup(changes.stop)
        self.rotation = Rotation(changes, reactor)
        self.addCleanup(self.rotation.stop)
        self.patch(rotation, "_RETRY", 0.01)
        self.patch(rotation, "_PATIENCE", 0.01)

    def fails_once(self, name: str) -> None:
        """Let a method of the files fail at its first call, for want of room."""
        method: Callable[..., Any] = getattr(LogFiles, name)

        def called(*args: object) -> object:
            if name not in self.failed:
                self.failed.append(name)
                raise OSError(errno.ENOSPC, "No space left on device")
            return method(*args)

        self.patch(LogFiles, name, called)

    async def test_whatever_fails_is_tried_again(self) -> None:
        names = ["tidy", "drop", "set_aside", "size"]
        for name in names:
            self.fails_once(name)
        said: list[bytes] = []

        def say(_: Path, line: bytes) -> bool:
            said.append(line)
            temporary = self.directory / "container.log.tmp"
            temporary.rename(self.files.path)
            return True

        self.patch(rotation, "say", say)
        self.rotation.start(Rotated("c"), self.files, self.directory / "ctl", Policy(100, 2))
        while not said:
            await deferLater(reactor, 0.01)
        self.assertEqual(sorted(self.failed), sorted(names))
        self.assertEqual(self.files.numbers(), [1])

    async def test_a_log_that_was_set_aside_is_opened_again(self) -> None:
        """Where what comes after fails, conmon must hear of it all the same."""
        told: list[bytes] = []

        def say(_: Path, line: bytes) -> bool:
            told.append(line)
            if len(told) == 1:
                raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
            (self.directory / "container.log.tmp").rename(self.files.path)
            return True

        self.patch(rotation, "say", say)
        self.rotation.start(Rotated("c"), self.files, self.directory / "ctl", Policy(100, 2))
        while len(told) < 2:
            await deferLater(reactor, 0.01)
        self.assertEqual(self.files.numbers(), [1])
