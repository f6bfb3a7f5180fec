"""Requests about files of containers and archives of images, and what is told of one file.

Source: ContainerArchive, ContainerArchiveInfo, PutContainerArchive, ImageCommit, ImageGet,
ImageGetAll and ImageLoad of the specification; file modes are those of Go's os.FileMode. Rule:
syntax is checked here, meaning by the backend.
"""

from __future__ import annotations

import base64
import json
import posixpath
import stat
from collections.abc import Sequence
from typing import Self

import msgspec
from msgspec import Struct

from dockerapi.model.containers import ContainerConfig
from dockerapi.model.decode import decode_json
from dockerapi.model.envelope import Envelope
from dockerapi.model.images import check_new_name
from dockerapi.model.malformed import Malformed
from dockerapi.model.platforms import Platform
from dockerapi.model.query import Query
from dockerapi.model.references import Reference
from dockerapi.model.timestamps import rfc3339
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import Source

#: The bits of Go's os.FileMode for what stat(2) tells as a kind of file, and as special modes.
_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_WITH_PLATFORM, _WITH_PLATFORMS = Version(1, 48), Version(1, 52)
_GO_MODES = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


def go_file_mode(mode: int) -> int:
    """Return a mode of stat(2) as Go's os.FileMode."""
    special = sum(bit for mask, bit in _GO_MODES if mode & mask)
    return _GO_KINDS.get(stat.S_IFMT(mode), 0) | special | (mode & 0o777)


class PathStat(msgspec.Struct, frozen=True):
    """What the header X-Docker-Container-Path-Stat tells of a file.

    :ivar mode: as stat(2) tells it.
    :ivar mtime: nanoseconds since 1970.
    :ivar link_target: where a link leads, in the container; empty for all else.
    """

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str = ""

    def header(self) -> bytes:
        """Return the header's value."""
        document = {
            "name": _readable(self.name),
            "size": self.size,
            "mode": go_file_mode(self.mode),
            "mtime": rfc3339(self.mtime),
            "linkTarget": _readable(self.link_target),
        }
        text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
        return base64.b64encode(text.encode())


def _readable(name: str) -> str:
    """Return a name as JSON can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _path(query: Query) -> str:
    path = query.text("path")
    if not path:
        raise Malformed("bad parameter: path cannot be empty")
    if "\0" in path:
        raise Malformed("bad parameter: path cannot hold a zero byte")
    return path


class ArchiveRequest(msgspec.Struct, frozen=True):
    """ContainerArchive and ContainerArchiveInfo.

    :ivar path: as sent, with whatever bytes it has (surrogateescape).
    """

    container: str
    path: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` where it names no path."""
        return cls(args[0], _path(Query(envelope.query)))


class _Copied(Struct, rename="pascal"):
    resource: str = ""


class CopyRequest(msgspec.Struct, frozen=True):
    """ContainerCopy, which `docker cp` asked for before there was ContainerArchive."""

    container: str
    path: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` where it names no path."""
        path = decode_json(await envelope.read_json(), _Copied).resource
        if not path:
            raise Malformed("Path cannot be empty")
        return cls(args[0], path)


class PutArchiveRequest(msgspec.Struct, frozen=True):
    """PutContainerArchive.

    :ivar path: the directory to put the archive into.
    :ivar keep_kinds: whether nothing but a directory may take a directory's place, and the other
        way round.
    :ivar own: whether all shall belong to the container's user, where it has one.
    """

    container: str
    path: str
    keep_kinds: bool
    own: bool
    body: Source

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` where it names no path."""
        query = Query(envelope.query)
        return cls(
            args[0],
            _path(query),
            query.boolean("noOverwriteDirNonDir"),
            query.boolean("copyUIDGID"),
            envelope.body,
        )


class CommitRequest(msgspec.Struct, frozen=True):
    """ImageCommit.

    :ivar name: the name of the new image, or None.
    :ivar config: what is set in it takes the place of the container's.
    """

    container: str
    name: Reference | None
    comment: str
    author: str
    pause: bool
    changes: tuple[str, ...]
    config: ContainerConfig

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a bad name, or a body that is none."""
        query = Query(envelope.query)
        received = await envelope.read_json()
        config = ContainerConfig()
        if received.strip() not in (b"", b"null"):
            config = decode_json(received, ContainerConfig)
        return cls(
            query.text("container"),
            _name(query),
            query.text("comment"),
            query.text("author"),
            query.boolean("pause", True),
            tuple(query.all("changes")),
            config,
        )


def _name(query: Query) -> Reference | None:
    if not query.text("repo"):
        return None
    reference = Reference.parse(query.text("repo"))
    if reference.digest:
        raise Malformed("cannot commit to digest reference")
    tag = query.text("tag")
    return check_new_name((reference.with_tag(tag) if tag else reference).with_default_tag())


def _platforms(query: Query, version: Version) -> tuple[Platform, ...]:
    """Return the platforms asked for; raise `Malformed` for what is none."""
    if version < _WITH_PLATFORM:
        return ()
    texts = query.all("platform")
    if len(texts) > 1 and version < _WITH_PLATFORMS:
        raise Malformed("multiple platform parameters not supported")
    return tuple(Platform.from_json(text) for text in texts if text)


class SaveRequest(msgspec.Struct, frozen=True):
    """ImageGet and ImageGetAll.

    :ivar names: names and ids of images.
    :ivar platforms: what they are to be for; none for anything.
    """

    names: tuple[str, ...]
    platforms: tuple[Platform, ...]

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a platform that is none."""
        query = Query(envelope.query)
        return cls(tuple(args) or tuple(query.all("names")), _platforms(query, version))


class LoadRequest(msgspec.Struct, frozen=True):
    """ImageLoad.

    :ivar quiet: whether nothing is told of progress.
    """

    quiet: bool
    platforms: tuple[Platform, ...]
    body: Source

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a platform that is none."""
        query = Query(envelope.query)
        return cls(query.boolean("quiet", True), _platforms(query, version), envelope.body)


def within(path: str, directory: str) -> bool:
    """Tell whether the cleaned path `path` is `directory`, or beneath it."""
    clean = posixpath.normpath(directory)
    return path == clean or path.startswith(clean.rstrip("/") + "/")
