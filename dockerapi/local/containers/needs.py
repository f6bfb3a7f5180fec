"""What containers need of the other parts of the engine.

Rule: interfaces alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dockerapi.local.containers.creation.endpoints import Network
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.local.volumes.catalogue import Wanted
from dockerapi.local.volumes.volume import Volume
from dockerapi.model.platforms import Platform
from dockerapi.model.ports import PortRequest


class Image(Protocol):
    """What containers need of an image."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def config(self) -> Mapping[str, Any]: ...  # noqa: D102
    def check_platform(self, wanted: Platform | None, reference: str) -> None: ...  # noqa: D102


class Images(Protocol):
    """What containers need of images."""

    @property
    def generation(self) -> int: ...  # noqa: D102
    async def resolve(self, reference: str) -> Image: ...  # noqa: D102
    def means(self, reference: str, identity: str) -> bool: ...  # noqa: D102
    def made_of(self, reference: str) -> Collection[str]: ...  # noqa: D102
    def size_of(self, identity: str) -> int: ...  # noqa: D102
    def layer_paths(self, image: Any) -> Sequence[Path]: ...  # noqa: D102


class Networks(Protocol):
    """What containers need of networks."""

    async def connect(  # noqa: D102
        self,
        container_id: str,
        mode: str,
        *,
        name: str,
        hostname: str,
        ports: Sequence[PortRequest] = (),
        mac: str = "",
        link_local: Sequence[str] = (),
    ) -> Sandbox: ...
    async def disconnect(self, container_id: str) -> None: ...  # noqa: D102
    async def reconcile(self, living: Collection[str]) -> None: ...  # noqa: D102
    def leaving(self, container_id: str) -> None: ...  # noqa: D102
    def find(self, reference: str) -> Network | None: ...  # noqa: D102
    def share(self, container_id: str) -> Sandbox | None: ...  # noqa: D102
    def sandbox(self, container_id: str) -> Sandbox | None: ...  # noqa: D102


class Volumes(Protocol):
    """What containers need of volumes."""

    def path(self, name: str) -> Path: ...  # noqa: D102
    async def claim(self, container: str, wanted: Wanted) -> tuple[Volume, bool]: ...  # noqa: D102
    def release(self, container: str, name: str) -> None: ...  # noqa: D102
    def is_read_only(self, name: str) -> bool: ...  # noqa: D102
    async def remove_unused(self, name: str) -> bool: ...  # noqa: D102
    async def attach(self, name: str, holder: str) -> bool: ...  # noqa: D102
    async def detach(self, name: str, holder: str) -> bool: ...  # noqa: D102
    def tell_mounted(  # noqa: D102
        self, name: str, container: str, destination: str, *, writable: bool
    ) -> None: ...
    def tell_unmounted(self, name: str, container: str) -> None: ...  # noqa: D102
    async def reconcile(self, living: Iterable[tuple[str, str]]) -> None: ...  # noqa: D102
