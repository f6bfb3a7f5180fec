"""How much space containers take: what each wrote, and that with its image.

Rule: directories are walked in a thread, again only where they can have changed; what an image
takes is known from its arrival.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import msgspec

from dockerapi.local.containers.container import Container, State
from dockerapi.local.containers.needs import Images
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.host.sizes import tree_size
from dockerapi.local.host.threads import in_thread


class Size(msgspec.Struct, frozen=True):
    """Bytes: what a container wrote, and all files in its root."""

    written: int
    root: int


class ContainerSizes:
    """Measures containers."""

    def __init__(self, places: Places, images: Images) -> None:
        self._places = places
        self._images = images
        #: What containers that do not run wrote, with what they were when it was measured.
        self._known: WeakKeyDictionary[Container, tuple[State, int, int]] = WeakKeyDictionary()

    async def of(self, containers: Sequence[Container]) -> list[Size]:
        """Return the size of each of `containers`."""
        pending = [one for one in containers if self._known_size(one) is None]
        before = [(one.state, one.root_uses) for one in pending]
        uppers = [os.fspath(self._places.directories(one).upper) for one in pending]
        measured = await in_thread(_measure, uppers) if uppers else []
        fresh = dict(zip((one.id for one in pending), measured, strict=True))
        for container, (state, uses) in zip(pending, before, strict=True):
            self._known[container] = (state, uses, fresh[container.id])
        return [self._size(one, fresh) for one in containers]

    def _size(self, container: Container, fresh: Mapping[str, int]) -> Size:
        known = fresh.get(container.id)
        written = self._known[container][2] if known is None else known
        return Size(written, written + self._images.size_of(container.image))

    def _known_size(self, container: Container) -> int | None:
        """Return what a container wrote where it cannot have changed since it was measured."""
        state, uses, size = self._known.get(container, (None, 0, 0))
        same = state is container.state and uses == container.root_uses
        return size if same and not container.state.running else None


def _measure(paths: Sequence[str]) -> list[int]:
    return [tree_size(path) for path in paths]
