"""Blobs and unpacked layers on disk.

Rule: everything is made under a temporary name, verified, and renamed into place, so whatever has
its final name is whole, after `Content.settle` even when the power fails; who needs content that no
image has yet holds a lease on it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from threading import Lock
from typing import Self

import msgspec
from twisted.internet.task import LoopingCall

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.host.filesystem import sync_filesystem
from dockerapi.local.host.flow import Flow
from dockerapi.local.host.removal import remove_by_child
from dockerapi.local.host.spawn import run
from dockerapi.local.host.threads import in_thread
from dockerapi.local.images.image import Layer
from dockerapi.local.layout import Layout
from dockerapi.local.namedlocks import NamedLocks
from dockerapi.wire.duplex import Source

#: How much is gathered for one write in a thread, in bytes.
BATCH = 1 << 20
#: How often the progress of unpacking is told, in seconds.
_PROGRESS_INTERVAL = 0.25

Progress = Callable[[int], None]


class Blob(msgspec.Struct, frozen=True):
    """A file by its digest."""

    digest: str
    size: int


class BadContent(InvalidParameter):
    """Content that is not what it should be: a wrong digest, an archive that is refused."""


class Lease:
    """Digests and chain ids that must stay; made by `Content.lease`."""

    def __init__(self, held: Counter[str]) -> None:
        self._held = held
        self._own: list[str] = []

    def add(self, name: str) -> None:
        """Hold `name` too."""
        self._held[name] += 1
        self._own.append(name)

    @property
    def names(self) -> tuple[str, ...]:
        """What is held."""
        return tuple(self._own)

    def release(self) -> None:
        """Let go of everything."""
        self._held.subtract(self._own)
        for name in self._own:
            if self._held[name] <= 0:
                del self._held[name]
        self._own = []


class Content:
    """The blobs and layers below the data root."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._held: Counter[str] = Counter()
        self._layers: dict[str, Layer] = {}
        self._locks = NamedLocks()

    @contextlib.contextmanager
    def lease(self) -> Iterator[Lease]:
        """Give a lease that ends with the block."""
        lease = Lease(self._held)
        try:
            yield lease
        finally:
            lease.release()

    def is_held(self, name: str) -> bool:
        """Tell whether someone holds a lease on a digest or chain id."""
        return name in self._held

    def alone(self, name: str) -> AbstractAsyncContextManager[None]:
        """Let one at a time work on a digest or chain id."""
        return self._locks.of(name)

    def has_blob(self, digest: str) -> bool:
        """Tell whether the blob is here, whole."""
        return self._layout.blob(digest).is_file()

    def layer(self, chain_id: str) -> Layer | None:
        """Return the layer if it is here, whole."""
        return self._layers.get(chain_id)

    def receiver(self) -> Receiver:
        """Return what takes a new blob."""
        return Receiver(self._layout)

    async def receive(self, source: Source) -> Blob:
        """Keep all that `source` gives as a blob, under whatever digest it has."""
        async with self.receiver() as receiver:
            with Flow() as flow:
                while data := await source.read(BATCH):
                    flow.count(len(data))
                    await receiver.write(data)
            return await receiver.keep()

    async def unpack(
        self, digest: str, diff_id: str | None, parent: str | None, progress: Progress | None = None
    ) -> tuple[Layer, Path]:
        """Unpack the blob `digest`; return the layer and its temporary directory.

        `diff_id` is what the uncompressed archive must have, None for whatever it has; `parent`
        the chain id of the layer below. Raises `BadContent`.
        """
        directory = Path(tempfile.mkdtemp("", "layer-", self._layout.tmp))
        try:
            os.chmod(directory, 0o755)
            result = await self._run_child(digest, directory, progress)
            found = str(result["diffId"])
            if diff_id is not None and found != diff_id:
                raise BadContent(
                    f"failed to register layer: the layer's digest is {found}, not {diff_id}"
                )
            chain_id = _chained(parent, found)
            return Layer(chain_id, found, int(str(result["size"]))), directory
        except BaseException:
            await remove_by_child(directory)
            raise

    async def adopt(self, layer: Layer, directory: Path) -> None:
        """Give an unpacked layer its place; call it inside `alone` for its chain id."""
        target = self._layout.layer(layer.chain_id)
        if layer.chain_id in self._layers or await in_thread(target.is_dir):
            # It may be there without being known: when records are damaged, nothing is removed.
            await remove_by_child(directory)
        else:
            os.rename(directory, target)
        self._layers[layer.chain_id] = layer

    async def settle(self) -> None:
        """Bring all blobs and layers onto the disk: once, before they are written down.

        Raises OSError.
        """
        await in_thread(sync_filesystem, self._layout.layers)

    async def remove(self, blobs: Collection[str], layers: Collection[str]) -> None:
        """Remove blobs and layers for good."""
        doomed = []
        for chain_id in layers:
            grave = (
                self._layout.tmp / f"gone-{chain_id.removeprefix('sha256:')}-{os.urandom(4).hex()}"
            )
            with contextlib.suppress(FileNotFoundError):
                self._layers.pop(chain_id, None)
                os.rename(self._layout.layer(chain_id), grave)
                doomed.append(grave)
        for digest in blobs:
            self._layout.blob(digest).unlink(missing_ok=True)
        if doomed:
            await remove_by_child(*doomed)

    def know(self, layers: Mapping[str, Layer]) -> None:
        """Take note at the start of the layers that are there."""
        self._layers = dict(layers)

    async def sweep(self, blobs: Collection[str], layers: Collection[str]) -> None:
        """Remove everything but these blobs and layers; for the start, when nobody works."""
        present = await in_thread(os.listdir, self._layout.blobs / "sha256")
        kept = {digest.removeprefix("sha256:") for digest in blobs}
        for name in present:
            if name not in kept:
                (self._layout.blobs / "sha256" / name).unlink(missing_ok=True)
        kept = {chain_id.removeprefix("sha256:") for chain_id in layers}
        doomed = [
            self._layout.layers / name
            for name in await in_thread(os.listdir, self._layout.layers)
            if name not in kept
        ]
        doomed += [
            self._layout.tmp / name
            for name in await in_thread(os.listdir, self._layout.tmp)
            if name.startswith(("blob-", "layer-", "gone-"))
        ]
        if doomed:
            await remove_by_child(*doomed)

    async def _run_child(
        self, digest: str, directory: Path, progress: Progress | None
    ) -> dict[str, object]:
        descriptor = os.open(self._layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
        # The child shares the position in the file, which so tells how far it is.
        ticker = LoopingCall(lambda: progress and progress(os.lseek(descriptor, 0, os.SEEK_CUR)))
        if progress is not None:
            ticker.start(_PROGRESS_INTERVAL, now=False)
        try:
            completed = await run(
                [
                    sys.executable,
                    "-m",
                    "dockerapi.local.images.unpack",
                    str(descriptor),
                    directory,
                ],
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                pass_fds=(descriptor,),
            )
        finally:
            if ticker.running:
                ticker.stop()
            os.close(descriptor)
        if completed.status:
            text = completed.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise BadContent(
                f"failed to register layer: {text or f'unpacking ended with {completed.status}'}"
            )
        result: dict[str, object] = json.loads(completed.stdout)
        return result


class Receiver:
    """Takes one blob: hashed and written in threads; without `keep` nothing of it remains.

    :ivar size: the bytes taken so far.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._hash = hashlib.sha256()
        self._descriptor = -1
        self._lock = Lock()
        self._path: Path | None = None
        self._pending: list[bytes] = []
        self._pending_size = 0
        self.size = 0

    async def __aenter__(self) -> Self:
        self._descriptor, path = tempfile.mkstemp("", "blob-", self._layout.tmp)
        self._path = Path(path)
        return self

    async def __aexit__(self, *_: object) -> None:
        # In a thread, since a write that was given up may still hold the lock.
        in_thread(self._close)
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._pending.append(data)
        self._pending_size += len(data)
        self.size += len(data)
        if self._pending_size >= BATCH:
            await self._flush()

    async def restart(self) -> None:
        """Forget everything taken so far."""
        self._pending, self._pending_size, self.size = [], 0, 0
        self._hash = hashlib.sha256()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)

    async def keep(self, expected: str | None = None) -> Blob:
        """Put the blob into its place and return it.

        Raises `BadContent` where its digest is not the `expected` one.
        """
        await self._flush()
        digest = f"sha256:{self._hash.hexdigest()}"
        if expected is not None and digest != expected:
            raise BadContent(f"filesystem layer verification failed for digest {expected}")
        assert self._path is not None
        os.fchmod(self._descriptor, stat.S_IRUSR | stat.S_IWUSR)
        os.rename(self._path, self._layout.blob(digest))
        self._path = None
        return Blob(digest, self.size)

    async def _flush(self) -> None:
        pending, self._pending, self._pending_size = self._pending, [], 0
        if pending:
            await in_thread(self._write, pending)

    def _write(self, pending: list[bytes]) -> None:
        with self._lock:
            if self._descriptor < 0:
                return
            for data in pending:
                self._hash.update(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(self._descriptor, view) :]

    def _close(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def _chained(parent: str | None, diff_id: str) -> str:
    if parent is None:
        return diff_id
    return f"sha256:{hashlib.sha256(f'{parent} {diff_id}'.encode()).hexdigest()}"
