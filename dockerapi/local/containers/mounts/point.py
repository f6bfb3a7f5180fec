"""One mount of a container: what is mounted where, and how.

Source: `MountPoint` of the specification, and mounts of the OCI runtime specification's config.md.
"""

from __future__ import annotations

from typing import Any

import msgspec

BIND, TMPFS, VOLUME, IMAGE = "bind", "tmpfs", "volume", "image"
_PRIVATE = "rprivate"
#: Where mounts beneath one are seen, as in mount(8).
PROPAGATIONS = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate"})
#: A tmpfs may have these besides.
TMPFS_PROPAGATIONS = PROPAGATIONS | {"unbindable", "runbindable"}


class MountPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One mount.

    :ivar type: ``bind``, ``tmpfs``, ``volume`` or ``image``.
    :ivar source: the path on the host; empty for a tmpfs.
    :ivar mode: what the client wrote as its mode, for inspect.
    :ivar propagation: as in mount(8), for a bind.
    :ivar options: further options of the mount itself, in the OCI specification's words.
    :ivar recursive: whether a read-only one is so with all that is mounted inside it: ``""``,
        ``able`` (where the kernel can) or ``forced``.
    :ivar create: whether a missing source is made a directory (else it is an error).
    :ivar name: of the volume; of an image, the reference that was asked for.
    :ivar driver: of the volume.
    :ivar copy: whether an empty volume gets what the image has there.
    :ivar subpath: the part of the volume or image that is mounted; empty for all of it.
    :ivar image: the id of the image.
    :ivar anonymous: whether nobody named the volume: it goes with the container, when asked for.
    :ivar listed: whether the API tells of it.
    """

    type: str
    destination: str
    source: str = ""
    read_only: bool = False
    mode: str = ""
    propagation: str = ""
    options: tuple[str, ...] = ()
    recursive: str = ""
    create: bool = False
    name: str = ""
    driver: str = ""
    copy: bool = False
    subpath: str = ""
    image: str = ""
    anonymous: bool = False
    listed: bool = True

    @property
    def depth(self) -> int:
        """How deep it lies: what is deeper is mounted later."""
        return self.destination.count("/")

    def to_spec(self) -> dict[str, Any]:
        """Return the OCI runtime specification's mount."""
        access = (["rro"] if self.recursive else ["ro"]) if self.read_only else []
        tmpfs = self.type == TMPFS
        propagation = self.propagation or _PRIVATE
        if "bind" in self.options:
            # crun takes a recursive propagation for a recursive bind.
            propagation = propagation.removeprefix("r")
        # The last one counts; a tmpfs has its own among its options.
        own = [] if TMPFS_PROPAGATIONS.intersection(self.options) else [propagation]
        return {
            "destination": self.destination,
            "type": TMPFS if tmpfs else BIND,
            "source": TMPFS if tmpfs else self.source,
            "options": [*self.options, *access, *own],
        }

    def to_api(self) -> dict[str, Any]:
        """Return the API's ``MountPoint``."""
        named = {"Name": self.name} if self.name else {}
        driven = {"Driver": self.driver} if self.driver else {}
        return {
            "Type": self.type,
            **named,
            "Source": self.source,
            "Destination": self.destination,
            **driven,
            "Mode": self.mode,
            "RW": not self.read_only,
            "Propagation": self.propagation,
        }
