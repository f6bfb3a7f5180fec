"""What containers need of the other parts of the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.ports import PortRequest


class Image(Protocol):
    """What containers need of an image."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def config(self) -> Mapping[str, Any]: ...  # noqa: D102


class Images(Protocol):
    """What containers need of images."""

    async def resolve(self, reference: str) -> Image: ...  # noqa: D102
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
    ) -> Sandbox: ...
    async def disconnect(self, container_id: str) -> None: ...  # noqa: D102
    async def reconcile(self, living: Collection[str]) -> None: ...  # noqa: D102
    def leaving(self, container_id: str) -> None: ...  # noqa: D102
    def share(self, container_id: str) -> Sandbox | None: ...  # noqa: D102
    def sandbox(self, container_id: str) -> Sandbox | None: ...  # noqa: D102
