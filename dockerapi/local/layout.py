"""Every path under the data root and the run root, so that no other module joins paths.

Rule: the data root outlives a reboot of the host; the run root is on tmpfs and need not.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def _checked(identity: str) -> str:
    """Return `identity` if it is 64 hexadecimal digits; raises ValueError otherwise."""
    if _HEX.fullmatch(identity) is None:
        raise ValueError(f"not an id: {identity!r}")
    return identity


@attrs.frozen
class Layout:
    """The paths of one engine.

    :ivar root: the data root, as in ``/var/lib/dockerapi``.
    :ivar run: the run root, as in ``/run/dockerapi``; short, since unix sockets lie below it.
    """

    root: Path = attrs.field(converter=Path)
    run: Path = attrs.field(converter=Path)

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.root / "state.db"

    @property
    def tmp(self) -> Path:
        """Files under way; emptied at start. On the file system of the data root."""
        return self.root / "tmp"

    @property
    def blobs(self) -> Path:
        """Content by digest: ``sha256/HEX``, as in an OCI image layout."""
        return self.root / "images" / "blobs"

    @property
    def layers(self) -> Path:
        """Unpacked layers by chain id."""
        return self.root / "images" / "layers"

    @property
    def containers(self) -> Path:
        """What of containers lies on disk."""
        return self.root / "containers"

    @property
    def common_layer(self) -> Path:
        """The layer that all containers have over those of their image."""
        return self.root / "images" / "common"

    @property
    def volumes(self) -> Path:
        """The volumes, each in a directory of its name."""
        return self.root / "volumes"

    @property
    def containers_run(self) -> Path:
        """What of containers lies on tmpfs."""
        return self.run / "c"

    @property
    def programs(self) -> Path:
        """Links to the programs that this server runs from memory."""
        return self.run / "programs"

    @property
    def netns(self) -> Path:
        """Pins of network namespaces."""
        return self.run / "netns"

    def blob(self, digest: str) -> Path:
        """Return the file of a blob; `digest` is ``sha256:HEX``.

        Raises `ValueError` for anything else.
        """
        algorithm, _, identity = digest.partition(":")
        if algorithm != "sha256":
            raise ValueError(f"not a digest: {digest!r}")
        return self.blobs / algorithm / _checked(identity)

    def layer(self, chain_id: str) -> Path:
        """Return the directory of an unpacked layer; `chain_id` is ``sha256:HEX``.

        Raises `ValueError` for anything else.
        """
        algorithm, _, identity = chain_id.partition(":")
        if algorithm != "sha256":
            raise ValueError(f"not a chain id: {chain_id!r}")
        return self.layers / _checked(identity)

    def volume(self, name: str) -> Path:
        """Return the directory of a volume; what is in it lies below ``_data``."""
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"not the name of a volume: {name!r}")
        return self.volumes / name

    def container(self, identity: str) -> Path:
        """Return a container's directory under the data root: its own layer, its log."""
        return self.containers / _checked(identity)

    def container_run(self, identity: str) -> Path:
        """Return a container's directory under the run root: bundle, sockets, exit files."""
        return self.containers_run / _checked(identity)

    def make(self) -> None:
        """Make the directories that always are there; others cannot enter either root.

        Who could reach a container's files as another user could run what its root made setuid
        there (CVE-2021-41091), and read environments and logs.
        """
        for path in (self.root, self.run):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o710)
        for path in (
            self.blobs / "sha256",
            self.layers,
            self.containers,
            self.volumes,
            self.common_layer,
            self.tmp,
        ):
            path.mkdir(parents=True, exist_ok=True, mode=0o711)
        # By this file programs see that they are in a container of Docker's.
        (self.common_layer / ".dockerenv").touch(mode=0o755)
        for path in (self.containers_run, self.netns):
            path.mkdir(parents=True, exist_ok=True, mode=0o711)
