"""The operations on the files of containers: HEAD, GET and PUT of archives, export, changes.

Source: the specification's ContainerArchiveInfo, ContainerArchive, PutContainerArchive,
ContainerExport and ContainerChanges. Rule: nothing of a container is read or written in this
process; a child does it, which ends when its client leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, closing

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dockerapi.engine.answers import Answer, Bare, Encoded, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import InvalidParameter, NotFound
from dockerapi.engine.job import Job
from dockerapi.local.archive.feeding import Feed
from dockerapi.local.archive.process import Child, ChildFailed
from dockerapi.local.archive.statuses import NOT_DIRECTORY, NOT_FOUND
from dockerapi.local.containers.archive.roots import Roots
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.ledger import Ledger
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.users import resolve_user
from dockerapi.local.host.threads import in_thread
from dockerapi.model.archives import (
    ArchiveRequest,
    CopyRequest,
    PathStat,
    PutArchiveRequest,
    within,
)
from dockerapi.model.container_requests import ContainerRequest
from dockerapi.wire.duplex import Sink

_log = Logger()
#: What the file is that was asked for.
_HEADER = b"X-Docker-Container-Path-Stat"


class ArchiveOperations:
    """Handlers of the engine's jobs."""

    def __init__(self, registry: Registry, places: Places, ledger: Ledger, roots: Roots) -> None:
        self._registry = registry
        self._places = places
        self._ledger = ledger
        self._roots = roots

    def register(self, engine: Engine) -> None:
        """Register every handler of this class."""
        engine.register("ContainerArchiveInfo", self.info)
        engine.register("ContainerArchive", self.get)
        engine.register("PutContainerArchive", self.put)
        engine.register("ContainerCopy", self.copy)
        engine.register("ContainerExport", self.export)
        engine.register("ContainerChanges", self.changes)

    async def info(self, job: Job) -> Answer:
        """Answer ContainerArchiveInfo: a header alone."""
        request = await job.request(ArchiveRequest)
        container = self._registry.get(request.container)
        with self._ledger.telling_removal(container):
            child = await self._start(container, "stat", [request.path])
            try:
                stat = await _stat(child, request.path, request.container)
                await child.finish()
            finally:
                child.close()
        return Bare(((_HEADER, stat.header()),))

    async def get(self, job: Job) -> Answer:
        """Answer ContainerArchive: an archive of a file or directory, written while it is made."""
        request = await job.request(ArchiveRequest)
        container = self._registry.get(request.container)
        child, stat = await self._read(container, request.path, request.container)
        headers = ((_HEADER, stat.header()),)
        self._ledger.publish(container, "archive-path")
        return Stream(child.serve, content_type="application/x-tar", headers=headers)

    async def copy(self, job: Job) -> Answer:
        """Answer ContainerCopy: the same archive, for clients before API 1.24."""
        request = await job.request(CopyRequest)
        container = self._registry.get(request.container)
        child, _ = await self._read(container, request.path, request.container)
        self._ledger.publish(container, "copy")
        return Stream(child.serve, content_type="application/x-tar")

    async def _read(self, container: Container, path: str, name: str) -> tuple[Child, PathStat]:
        """Begin to read a path of a container that the client calls `name`."""
        mounted = [point.destination for point in container.mounts]
        with self._ledger.telling_removal(container):
            child = await self._start(container, "get", [path, *mounted])
            try:
                return child, await _stat(child, path, name)
            except BaseException:
                child.close()
                raise

    async def put(self, job: Job) -> Answer:
        """Answer PutContainerArchive: put the body's archive into a directory."""
        request = await job.request(PutArchiveRequest)
        container = self._registry.get(request.container)
        # Without a user there is nobody to give it to: owners stay as the archive has them.
        own = request.own and container.config.user
        with self._ledger.telling_removal(container), closing(Feed()) as feed:
            owner = await self._owner(container) if own else ("-", "-")
            arguments = [request.path, "1" if request.keep_kinds else "0", *owner, "-"]
            child = await self._start(container, "put", arguments, feed)
            try:
                (directory,) = await _first_line(child, request.path, request.container)
                _check_writable(container, directory)
                await feed.give(request.body, child)
            finally:
                child.close()
        self._ledger.publish(container, "extract-to-dir")
        return None

    async def export(self, job: Job) -> Answer:
        """Answer ContainerExport: an archive of the whole root, without what is mounted in it."""
        request = await job.request(ContainerRequest)
        container = self._registry.get(request.container)
        with self._ledger.telling_removal(container):
            child = await self._export(container)
        self._ledger.publish(container, "export")
        return Stream(child.serve, content_type="application/octet-stream")

    async def changes(self, job: Job) -> Answer:
        """Answer ContainerChanges: what differs from the image, written while it is found."""
        request = await job.request(ContainerRequest)
        container = self._registry.get(request.container)
        upper = self._places.directories(container).upper
        if not upper.is_dir():
            return Encoded(b"null\n")
        layers = await self._places.layers(container)
        with self._ledger.telling_removal(container):
            child = await Child.start("changes", [upper, *layers])

        async def serve(sink: Sink) -> None:
            try:
                await _write_changes(child, sink)
                await child.finish()
            finally:
                child.close()

        return Stream(serve)

    async def _start(
        self,
        container: Container,
        operation: str,
        arguments: Sequence[str],
        feed: Feed | None = None,
    ) -> Child:
        """Start a child in a container, whose root is there for as long as the child lives."""
        async with AsyncExitStack() as stack:
            reach = await stack.enter_async_context(self._roots.reached(container))
            child = await Child.start(
                operation,
                [*reach.arguments, *arguments],
                stdin=None if feed is None else feed.reading,
                pass_fds=reach.descriptors,
            )
            if feed is not None:
                feed.opened()
            _keep_until_end(child, stack.pop_all())
        return child

    async def _export(self, container: Container) -> Child:
        """Start a child that reads a root, which is there for as long as the child lives."""
        async with AsyncExitStack() as stack:
            directories = await stack.enter_async_context(self._roots.mounted(container))
            child = await Child.start("export", [directories.merged, "0"])
            _keep_until_end(child, stack.pop_all())
        return child

    async def _owner(self, container: Container) -> tuple[str, str]:
        """Return the numbers of a container's user and group."""
        async with self._roots.mounted(container) as directories:
            user = await in_thread(resolve_user, directories.merged, container.config.user)
        return str(user.uid), str(user.gid)


def _keep_until_end(child: Child, stack: AsyncExitStack) -> None:
    """Undo what `stack` holds when the child has ended, whoever ends it."""
    ended = child.ended.addCallback(lambda _: Deferred.fromCoroutine(stack.aclose()))
    ended.addErrback(lambda failure: _log.failure("a root was not let go", failure))


async def _first_line(child: Child, path: str, name: str) -> list[str]:
    """Return the words that a child begins with; raise what it says instead, by meaning."""
    try:
        return await child.line()
    except ChildFailed as failed:
        if failed.status == NOT_FOUND:
            raise NotFound(f"Could not find the file {path} in container {name}") from None
        if failed.status == NOT_DIRECTORY:
            raise InvalidParameter(failed.message) from None
        raise


async def _stat(child: Child, path: str, name: str) -> PathStat:
    mode, size, mtime, base, target = await _first_line(child, path, name)
    return PathStat(base, int(size), int(mode), int(mtime), target)


def _check_writable(container: Container, directory: str) -> None:
    """Raise `InvalidParameter` where nothing may be written to a directory of a container."""
    for point in sorted(container.mounts, key=lambda one: -one.depth):
        if within(directory, point.destination):
            if point.read_only:
                raise InvalidParameter("mounted volume is marked read-only")
            return
    if container.host_config.readonly_rootfs:
        raise InvalidParameter("container rootfs is marked read-only")


async def _write_changes(child: Child, sink: Sink) -> None:
    """Write records of kind, path and a zero byte as JSON."""
    rest, opening = b"", b"["
    while data := await child.read():
        *records, rest = (rest + data).split(b"\0")
        parts = []
        for record in records:
            path = record[1:].decode("utf-8", "replace")
            parts.append(opening + msgspec.json.encode({"Path": path, "Kind": record[0] - 0x30}))
            opening = b","
        if parts:
            await sink.write(b"".join(parts))
    await sink.write(b"null\n" if opening == b"[" else b"]\n")
