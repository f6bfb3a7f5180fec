"""An engine with nothing but images, and archives to put into it."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path
from shutil import rmtree
from typing import Any
from urllib.parse import urlencode

import msgspec
from twisted.trial.unittest import TestCase

from dockerapi.engine.answers import Encoded, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.job import Job
from dockerapi.local.images.service import Images
from dockerapi.local.layout import Layout
from dockerapi.local.store import Store
from dockerapi.model.envelope import EmptySource, Envelope
from dockerapi.model.versions import NEWEST, Version
from tests.streams import Bytes, Collected


class Collector(Collected):
    """Keeps the lines of a stream."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.data.splitlines()]


class Archive:
    """Builds a tar archive, hostile ones too."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, content: bytes = b"", **fields: Any) -> Archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        member.mode = 0o644
        for key, value in fields.items():
            setattr(member, key, value)
        self._tar.addfile(member, io.BytesIO(content))
        return self

    def directory(self, name: str, **fields: Any) -> Archive:
        return self.add(name, type=tarfile.DIRTYPE, mode=fields.pop("mode", 0o755), **fields)

    def symlink(self, name: str, target: str) -> Archive:
        return self.add(name, type=tarfile.SYMTYPE, linkname=target)

    def link(self, name: str, target: str) -> Archive:
        return self.add(name, type=tarfile.LNKTYPE, linkname=target)

    def bytes(self) -> bytes:
        self._tar.close()
        return self._file.getvalue()


class Users:
    """Containers, by the image that each uses, as a test says.

    :ivar by_image: their ids, by the image's.
    :ivar running: those that run.
    :ivar named: what they were asked to be made of, by the image's id.
    """

    def __init__(self) -> None:
        self.by_image: dict[str, list[str]] = {}
        self.running: set[str] = set()
        self.named: dict[str, list[str]] = {}

    def of(self, image: str) -> list[str]:
        return self.by_image.get(image, [])

    def names(self, image: str) -> list[str]:
        return self.named.get(image, [])

    def is_running(self, container: str) -> bool:
        return container in self.running


class ImagesTestCase(TestCase):
    """A test with an engine of its own."""

    options: dict[str, Any] = {}

    async def setUp(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="images-"))
        self.addCleanup(rmtree, root)
        self.layout = Layout(root / "data", root / "run")
        self.layout.make()
        self.users = Users()
        await self.begin()
        self.addCleanup(lambda: self.store.close())

    async def begin(self) -> None:
        self.store = Store.open(self.layout.database)
        self.engine = Engine(logging=False)
        self.images = Images(
            self.store, self.layout, self.engine.events, self.users, **self.options
        )
        self.images.register(self.engine)
        await self.images.start()
        self.engine.activation.activate()

    async def restart(self) -> None:
        """End as if the process had died, and begin again."""
        await self.store.close()
        await self.begin()

    def job(
        self,
        name: str,
        *args: str,
        body: bytes | None = None,
        version: Version = NEWEST,
        **query: Any,
    ) -> Job:
        envelope = Envelope(
            method="POST",
            query=urlencode(query, doseq=True),
            body=Bytes(body) if body is not None else EmptySource(),
            length=None if body is not None else 0,
        )
        return self.engine.job(name, *args, version=version, envelope=envelope)

    async def run_job(self, name: str, *args: str, **options: Any) -> Any:
        """Run a job; return its answer decoded, streams as their lines."""
        answer = await self.job(name, *args, **options).run()
        if isinstance(answer, Encoded):
            return msgspec.json.decode(answer.body)
        if isinstance(answer, Stream):
            sink = Collector()
            await answer.serve(sink)
            return sink.lines
        return answer

    async def import_image(self, archive: bytes, repo: str = "", tag: str = "", **q: Any) -> str:
        lines = await self.run_job(
            "ImageCreate", body=archive, fromSrc="-", repo=repo, tag=tag, **q
        )
        self.assertEqual(len(lines), 1)
        return str(lines[0]["status"])

    def actions(self) -> list[tuple[str, str]]:
        """The events so far: action and name."""
        return [
            (event.action, event.attributes.get("name", "")) for event in self.engine.events.recent
        ]

    def left_over(self) -> list[str]:
        """What lies in the directory of temporary files."""
        return sorted(path.name for path in self.layout.tmp.iterdir())
