"""Where the parts of a container are: directories, image layers, its monitor's files.

Rule: nothing is made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.needs import Image, Images
from dockerapi.local.containers.runtime.conmon import Watch
from dockerapi.local.containers.runtime.rootfs import Directories
from dockerapi.local.layout import Layout


class Places:
    """Finds the parts of containers; nothing is made here."""

    def __init__(self, layout: Layout, images: Images) -> None:
        self.layout = layout
        self._images = images

    def directories(self, container: Container) -> Directories:
        """Return where the parts of `container` are."""
        return Directories.of(self.layout, container.id)

    async def layers(self, container: Container) -> Sequence[Path]:
        """Return the directories below the container's own, topmost first; raise `NotFound`."""
        return [self.layout.common_layer, *await self.layers_of(container.image)]

    async def image(self, reference: str) -> Image:
        """Return the image that a name or an id means; raise `NotFound`."""
        return await self._images.resolve(reference)

    async def layers_of(self, image: str) -> Sequence[Path]:
        """Return the directories of an image (by its id), topmost first; raise `NotFound`."""
        return self._images.layer_paths(await self._images.resolve(image))

    def watch(self, container: Container) -> Watch:
        """Return what conmon was, or will be, told of `container`."""
        directories = self.directories(container)
        config = container.config
        return Watch(
            container_id=container.id,
            name=container.name,
            bundle=directories.run,
            directory=directories.run,
            log=None if container.host_config.log_config.type == "none" else directories.log,
            terminal=config.tty,
            stdin=config.open_stdin,
            stdin_once=config.stdin_once and not config.tty,
        )
