"""How much space containers take: what each wrote, and that with its image.

Rule: directories are walked in a thread; what an image takes is known from its arrival.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import attrs

from dockerapi.local.containers.container import Container
from dockerapi.local.containers.places import Places
from dockerapi.local.host.sizes import tree_size
from dockerapi.local.host.threads import in_thread


@attrs.frozen
class Size:
    """Bytes: what a container wrote, and all files in its root."""

    written: int
    root: int


class ContainerSizes:
    """Measures containers.

    :ivar of_image: tells the bytes of an image, by its id; images set it.
    """

    def __init__(self, places: Places) -> None:
        self.of_image: Callable[[str], int] = lambda _: 0
        self._places = places

    async def of(self, containers: Sequence[Container]) -> list[Size]:
        """Return the size of each of `containers`."""
        uppers = [os.fspath(self._places.directories(one).upper) for one in containers]
        written = await in_thread(_measure, uppers)
        return [
            Size(size, size + self.of_image(container.image))
            for container, size in zip(containers, written, strict=True)
        ]


def _measure(paths: Sequence[str]) -> list[int]:
    return [tree_size(path) for path in paths]
