"""Which containers use an image, for images, which must not be removed under them.

Rule: a container that is still being made uses its images already.
"""

from __future__ import annotations

from collections.abc import Collection

from dockerapi.local.containers.registry import Registry


class ImageUsers:
    """See `dockerapi.local.images.removal.Users`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def of(self, image: str) -> Collection[str]:
        """Return the ids of the containers that use the image with this id."""
        return [one.id for one in self._registry.using(image)]

    def names(self, image: str) -> Collection[str]:
        """Return what the containers of the image with this id were asked to be made of."""
        return {one.config.image for one in self._registry.using(image) if one.image == image}

    def is_running(self, container: str) -> bool:
        """Tell whether the container with this id runs."""
        return container in self._registry and self._registry.get(container).state.running
