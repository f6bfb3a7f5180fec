"""Pulling images from registries."""

from __future__ import annotations

from dockerapi.engine.answers import Answer
from dockerapi.engine.errors import NotSupported
from dockerapi.local.images.catalogue import Catalogue
from dockerapi.model.images import Platform
from dockerapi.model.references import Reference


class Puller:
    """Pulls images."""

    def __init__(
        self, catalogue: Catalogue, insecure: tuple[str, ...], mirrors: tuple[str, ...]
    ) -> None:
        self._catalogue = catalogue

    async def pull(self, reference: Reference, platform: Platform | None) -> Answer:
        """Pull."""
        raise NotSupported("pulling is not supported yet")

    async def stop(self) -> None:
        """Close."""
