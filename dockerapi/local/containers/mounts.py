"""What a container has mounted: binds, tmpfs, and what cannot be honoured yet.

Source: `Binds`, `Mounts` and `Tmpfs` of the specification's HostConfig; texts as dockerd's.
Rule: parsing touches no disk; what depends on the host is checked by `check_sources`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

import attrs

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.model.containers import HostConfig, Mount

_PROPAGATIONS = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate"})
_MODES = frozenset({"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated"})
#: Options of a tmpfs that stand for themselves, and what each takes the place of.
_TMPFS_FLAGS = {
    "exec": "noexec",
    "suid": "nosuid",
    "dev": "nodev",
    "rw": "ro",
    "atime": "noatime",
    "noexec": "exec",
    "nosuid": "suid",
    "nodev": "dev",
    "ro": "rw",
    "noatime": "atime",
    "sync": "async",
    "async": "sync",
    "diratime": "nodiratime",
    "nodiratime": "diratime",
    "relatime": "norelatime",
    "norelatime": "relatime",
    "strictatime": "nostrictatime",
}
_TMPFS_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"})


@attrs.frozen
class MountPoint:
    """One mount.

    :ivar type: ``bind`` or ``tmpfs``.
    :ivar source: the path on the host; empty for a tmpfs.
    :ivar mode: what the client wrote as its mode, for inspect.
    :ivar propagation: as in mount(8), for a bind.
    :ivar options: further options of the mount itself, in the OCI specification's words.
    :ivar create: whether a missing source is made a directory (else it is an error).
    """

    type: str
    source: str
    destination: str
    read_only: bool = False
    mode: str = ""
    propagation: str = "rprivate"
    options: tuple[str, ...] = ()
    create: bool = False

    def to_spec(self) -> dict[str, object]:
        """Return the OCI runtime specification's mount."""
        options = [*self.options, *(["ro"] if self.read_only else [])]
        if self.type == "bind":
            return {
                "destination": self.destination,
                "type": "bind",
                "source": self.source,
                "options": [*options, self.propagation],
            }
        return {
            "destination": self.destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": [*options, "rprivate"],
        }

    def to_api(self) -> dict[str, object]:
        """Return the API's ``MountPoint``."""
        bind = self.type == "bind"
        return {
            "Type": self.type,
            "Source": self.source,
            "Destination": self.destination,
            "Mode": self.mode,
            "RW": not self.read_only,
            "Propagation": self.propagation if bind else "",
        }


@attrs.frozen
class Mounts:
    """All mounts of a container, and the destinations of volumes, which are not honoured yet."""

    points: tuple[MountPoint, ...]
    volumes: tuple[str, ...] = ()


def parse_mounts(host: HostConfig) -> Mounts:
    """Read the mounts that `host` asks for.

    Raises `InvalidParameter` (or `EngineError`, where dockerd answers so) for what is malformed.
    """
    points: list[MountPoint] = []
    volumes: list[str] = []
    for text in host.binds or ():
        bind = _bind(text)
        if bind.source.startswith("/"):
            points.append(bind)
        else:
            volumes.append(bind.destination)
    for mount in host.mounts or ():
        point = _mount(mount)
        if point is not None:
            points.append(point)
        else:
            volumes.append(mount.target)
    for destination, options in (host.tmpfs or {}).items():
        point = MountPoint("tmpfs", "", _destination(destination, destination))
        points.append(attrs.evolve(point, options=tmpfs_options(options), mode=options))
    seen: set[str] = set()
    for point in points:
        if point.destination in seen:
            raise InvalidParameter(f"Duplicate mount point: {point.destination}")
        seen.add(point.destination)
    points.sort(key=lambda point: point.destination.count("/"))
    return Mounts(tuple(points), tuple(volumes))


def check_sources(host: HostConfig) -> None:
    """Raise `InvalidParameter` where a bind among ``Mounts`` has no source on this host.

    Blocks for a system call each.
    """
    for mount in host.mounts or ():
        create = mount.bind_options is not None and mount.bind_options.create_mountpoint
        if mount.type == "bind" and not create and not os.path.exists(mount.source):
            raise InvalidParameter(
                'invalid mount config for type "bind": '
                f"bind source path does not exist: {mount.source}"
            )


def make_sources(points: tuple[MountPoint, ...]) -> None:
    """Make the missing sources of binds, as dockerd does; raise `InvalidParameter`, `EngineError`.

    Blocks for a system call each.
    """
    for point in points:
        if point.type == "bind" and not os.path.exists(point.source):
            if not point.create:
                raise InvalidParameter(
                    'invalid mount config for type "bind": '
                    f"bind source path does not exist: {point.source}"
                )
            try:
                os.makedirs(point.source, mode=0o755, exist_ok=True)
            except OSError as error:
                raise EngineError(
                    f"error while creating mount source path '{point.source}': "
                    f"mkdir {error.filename}: {(error.strerror or '').lower()}"
                ) from None


def _bind(text: str) -> MountPoint:
    parts = text.split(":")
    if len(parts) == 1 and text:
        # A volume without a name.
        return MountPoint("volume", "", _destination(text, text))
    if len(parts) not in (2, 3) or not all(parts):
        raise EngineError(f"invalid volume specification: '{text}'")
    destination = _destination(parts[1], text)
    mode = parts[2] if len(parts) == 3 else ""
    words = [word for word in mode.split(",") if word]
    propagations = [word for word in words if word in _PROPAGATIONS]
    if len(propagations) > 1 or not _MODES.issuperset(set(words) - _PROPAGATIONS):
        raise InvalidParameter(f"invalid mode: {mode}")
    return MountPoint(
        "bind",
        posixpath.normpath(parts[0]) if parts[0].startswith("/") else parts[0],
        destination,
        read_only="ro" in words,
        mode=mode,
        propagation=propagations[0] if propagations else "rprivate",
        options=("rbind",),
        create=True,
    )


def _destination(path: str, text: str) -> str:
    if "\0" in text:
        raise InvalidParameter("invalid volume specification: it holds a zero byte")
    if not path.startswith("/"):
        raise InvalidParameter(
            f"invalid volume specification: '{text}': invalid mount path: '{path}' "
            "mount path must be absolute"
        )
    clean = posixpath.normpath(path)
    if clean in ("/", "//"):
        raise InvalidParameter(
            f"invalid volume specification: '{text}': invalid specification: "
            "destination can't be '/'"
        )
    return clean


def _mount(mount: Mount) -> MountPoint | None:
    """Read one of ``Mounts``; None for a volume."""
    problem = next(_problems(mount), None)
    if problem is not None:
        raise InvalidParameter(f'invalid mount config for type "{mount.type}": {problem}')
    destination = posixpath.normpath(mount.target)
    if mount.type == "bind":
        options = mount.bind_options
        return MountPoint(
            "bind",
            posixpath.normpath(mount.source),
            destination,
            read_only=mount.read_only,
            propagation=(options.propagation if options is not None else "") or "rprivate",
            options=("bind" if options is not None and options.non_recursive else "rbind",),
            create=options is not None and options.create_mountpoint,
        )
    if mount.type != "tmpfs":
        return None
    words = []
    if mount.tmpfs_options is not None:
        if mount.tmpfs_options.size_bytes > 0:
            words.append(f"size={mount.tmpfs_options.size_bytes}")
        if mount.tmpfs_options.mode:
            words.append(f"mode={mount.tmpfs_options.mode:o}")
    return MountPoint(
        "tmpfs", "", destination, mount.read_only, options=tmpfs_options(",".join(words))
    )


def _problems(mount: Mount) -> Iterator[str]:
    if mount.type not in ("bind", "volume", "tmpfs"):
        yield "mount type unknown"
    if not mount.target:
        yield "field Target must not be empty"
    if not mount.target.startswith("/"):
        yield f"invalid mount path: '{mount.target}' mount path must be absolute"
    if posixpath.normpath(mount.target) in ("/", "//"):
        yield "invalid specification: destination can't be '/'"
    if mount.type == "bind" and not mount.source:
        yield "field Source must not be empty"
    if mount.type == "bind" and not mount.source.startswith("/"):
        yield f"invalid mount path: '{mount.source}' mount path must be absolute"
    if mount.type == "tmpfs" and mount.source:
        yield "field Source must not be specified"
    options = mount.bind_options
    if options is not None and options.propagation and options.propagation not in _PROPAGATIONS:
        yield f"invalid propagation mode: {options.propagation}"


def tmpfs_options(text: str) -> tuple[str, ...]:
    """Return the options of a tmpfs: dockerd's own, and those of `text`, which go first.

    Raises `InvalidParameter` for an option that is not a tmpfs's.
    """
    given = [word for word in text.split(",") if word]
    for word in given:
        name, equals, _ = word.partition("=")
        if not (name in _TMPFS_VALUES if equals else name in _TMPFS_FLAGS):
            raise InvalidParameter(f"invalid tmpfs option {word!r}".replace("'", '"'))
    own = [flag for flag in ("noexec", "nosuid", "nodev") if _TMPFS_FLAGS[flag] not in given]
    return (*own, *given)
