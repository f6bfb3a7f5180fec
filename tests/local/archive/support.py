"""The child on directories of its own, and archives to give it."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from dockerapi.local.archive.feeding import Feed
from dockerapi.local.archive.process import Child
from dockerapi.local.host.trees import remove_tree
from tests import streams
from tests.streams import Bytes


class Collected(streams.Collected):
    """Keeps an archive."""

    def members(self) -> list[tarfile.TarInfo]:
        """Return the members of the archive that was written."""
        return tarfile.open(fileobj=io.BytesIO(self.data)).getmembers()


def archive(
    *members: tuple[str, dict[str, Any]], compression: str = "", form: int = tarfile.PAX_FORMAT
) -> bytes:
    """Return an archive of members: names, and fields of `tarfile.TarInfo` (`data` for content)."""
    target = io.BytesIO()
    mode: Any = f"w:{compression}"
    with tarfile.open(fileobj=target, mode=mode, format=form) as tar:
        for name, fields in members:
            info = tarfile.TarInfo(name)
            info.mtime = 1_600_000_000
            data = fields.pop("data", b"")
            for field, value in fields.items():
                setattr(info, field, value)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target.getvalue()


def make_deep(path: Path) -> None:
    """Make a directory with a tree in it that is deeper than paths and stacks can be."""
    path.mkdir()
    handle = os.open(path, os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("d", dir_fd=handle)
        above, handle = handle, os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(above)
    os.close(handle)


class ChildCase(TestCase):
    """A directory `root` that the child enters, and one beside it that it must not reach."""

    timeout = 120

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("chroot needs root")
        base = Path(tempfile.mkdtemp(prefix="dockerapi-archive-"))
        self.addCleanup(remove_tree, base)
        self.root = base / "root"
        self.outside = base / "outside"
        for path in (self.root, self.outside):
            path.mkdir()

    async def stat(self, path: str | bytes) -> list[str]:
        child = await Child.start("stat", [self.root, "0", path])
        with contextlib.closing(child):
            line = await child.line()
            await child.finish()
        return line

    async def get(self, path: str | bytes) -> list[tarfile.TarInfo]:
        child = await Child.start("get", [self.root, "0", path])
        await child.line()
        return await self.served(child)

    async def served(self, child: Child) -> list[tarfile.TarInfo]:
        sink = Collected()
        await child.serve(sink)
        self.written = sink.data
        return sink.members()

    async def put(
        self,
        data: bytes,
        path: str = "/",
        owner: Sequence[str] = ("-", "-"),
        keep: str = "0",
        limit: str = "-",
    ) -> None:
        with contextlib.closing(Feed()) as feed:
            arguments: list[Any] = [self.root, "0", path, keep, *owner, limit]
            child = await Child.start("put", arguments, stdin=feed.reading)
            feed.opened()
            with contextlib.closing(child):
                await child.line()
                await feed.give(Bytes(data), child)
