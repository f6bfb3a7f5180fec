"""The containers that there are, found by id, name or the beginning of an id.

Rule: names are reserved here before work begins, and given back when it fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dockerapi.engine.errors import Conflict, InvalidParameter, NotFound
from dockerapi.local.containers.container import Container


class Registry:
    """Containers by id and name, in memory; the database has the same, written first."""

    def __init__(self) -> None:
        self._by_id: dict[str, Container] = {}
        self._names: dict[str, str] = {}
        self._in_making: dict[str, Container] = {}

    def __iter__(self) -> Iterator[Container]:
        return iter(tuple(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, identity: str) -> bool:
        return identity in self._by_id

    def get(self, reference: str) -> Container:
        """Return the container of an id, a name (with or without slash), or a unique prefix.

        A link has a name, too: that of its container and its alias, as in ``/web/db``.

        Raises `NotFound` and, where several ids begin so, `InvalidParameter`, in dockerd's words.
        """
        container = self._by_id.get(reference)
        if container is not None:
            return container
        identity = self._names.get(reference.removeprefix("/"))
        if identity is not None and identity in self._by_id:
            return self._by_id[identity]
        if (linked := self._linked(reference.removeprefix("/"))) is not None:
            return linked
        found = [
            identity for identity in self._by_id if reference and identity.startswith(reference)
        ]
        if len(found) > 1:
            raise InvalidParameter(f"multiple IDs found with provided prefix: {reference}")
        if not found:
            raise NotFound(f"No such container: {reference}")
        return self._by_id[found[0]]

    def _linked(self, name: str) -> Container | None:
        """Return the container that the link `name` leads to; None where there is none."""
        parent, _, alias = name.rpartition("/")
        holder = self._by_id.get(self._names.get(parent, ""))
        for text in (holder.host_config.links or ()) if holder is not None else ():
            identity, _, known_as = text.partition(":")
            if known_as == alias:
                return self._by_id.get(identity)
        return None

    @contextmanager
    def making(self, container: Container) -> Iterator[None]:
        """Reserve the name of `container`, and have it use its images, while the block makes it.

        Raises `Conflict` where another one has the name, which is free again when the block fails.
        """
        self.reserve(container.name, container.id)
        self._in_making[container.id] = container
        try:
            yield
        except BaseException:
            self.release(container.name, container.id)
            raise
        finally:
            del self._in_making[container.id]

    def using(self, image: str) -> list[Container]:
        """Return the containers of the image with this id, those that are being made included."""
        known = {**self._in_making, **self._by_id}
        return [one for one in known.values() if image in (one.image, *one.mounted_images)]

    def reserve(self, name: str, identity: str) -> None:
        """Give `name` to the container `identity`; raise `Conflict` where another one has it."""
        holder = self._names.setdefault(name, identity)
        if holder != identity:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}".'
                " You have to remove (or rename) that container to be able to reuse that name."
            )

    def release(self, name: str, identity: str) -> None:
        """Give a name of the container `identity` back; harmless where that does not have it."""
        if self._names.get(name) == identity:
            del self._names[name]

    def taken(self, name: str) -> bool:
        """Tell whether a container has this name, or is about to."""
        return name in self._names

    def add(self, container: Container) -> None:
        """Make `container`, whose name is reserved, one that can be found."""
        self._names[container.name] = container.id
        self._by_id[container.id] = container

    def remove(self, container: Container) -> None:
        """Forget `container` and its name."""
        self._by_id.pop(container.id, None)
        self.release(container.name, container.id)
