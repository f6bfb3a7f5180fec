"""What containers do with volumes: get them, fill them, mount them, and give them back.

Source: dockerd's rules for `VolumesFrom`, `Binds`, `Mounts` and `Volumes`, in that order. Rule: a
container has its volumes before it is known; what a step did before it failed is undone by `undo`
(at creation) or `detach` (at a start).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import attrs
from msgspec import structs
from twisted.logger import Logger

from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.mounts.parsing import Request, make_sources
from dockerapi.local.containers.mounts.point import BIND, IMAGE, TMPFS, VOLUME, MountPoint
from dockerapi.local.containers.mounts.propagation import checked, overlap, with_default
from dockerapi.local.containers.mounts.rules import clean, parse_from
from dockerapi.local.containers.mounts.staging import (
    NoSuchPath,
    stage_bind,
    stage_directory,
    stage_image,
    unstage,
)
from dockerapi.local.containers.needs import Volumes
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.rootfs import mount_root, unmount_root
from dockerapi.local.host.mountinfo import has_mounts
from dockerapi.local.host.threads import in_thread
from dockerapi.local.layout import Layout
from dockerapi.local.volumes.catalogue import Wanted
from dockerapi.local.volumes.copying import NotADirectory, copy_up, exists_in


class VolumeMounts:
    """The mounts of containers, and the volumes among them."""

    log = Logger()

    def __init__(self, volumes: Volumes, registry: Registry, places: Places) -> None:
        self._volumes = volumes
        self._registry = registry
        self._places = places

    async def prepare(self, container: Container, requests: Sequence[Request]) -> None:
        """Give a new container its `mounts`, with their volumes, made and filled where need be.

        Raises in dockerd's words for what cannot be; then `undo` is to be called.
        """
        for request in self._requests(container, requests):
            point = await self._resolved(container, request)
            container.mounts = (*container.mounts, point)
        container.mounts = tuple(sorted(container.mounts, key=lambda point: point.depth))
        await self._fill(container)

    async def revise(
        self, container: Container, draft: Container, requests: Sequence[Request]
    ) -> None:
        """Give `draft`, which `container` is to become, its mounts: `requests`, over those before.

        Raises as `prepare`; nothing is to be undone then.
        """
        before = {point.destination: point for point in container.mounts}
        found = dict(before)
        try:
            for request in self._requests(draft, requests):
                place = request.point.destination
                fresh = request.point.type == VOLUME and not request.volume.name
                # What has a volume that nobody named keeps it.
                if not (fresh and place in before):
                    found[place] = await self._resolved(draft, request)
            draft.mounts = tuple(sorted(found.values(), key=lambda point: point.depth))
            await self._fill(draft)
        except BaseException:
            draft.mounts = tuple(found.values())
            await self._give_back(draft, draft.made_volumes, kept=_names(container))
            raise

    async def replaced(self, before: Sequence[MountPoint], container: Container) -> None:
        """Give back the volumes that were among the mounts `before` and are not any more."""
        volumes = [point for point in before if point.type == VOLUME]
        kept = _names(container)
        gone = attrs.evolve(container, mounts=tuple(volumes))
        await self._give_back(
            gone, [one.name for one in volumes if one.anonymous and one.name not in kept], kept=kept
        )

    async def undo(self, container: Container) -> None:
        """Give back the volumes of a container that could not be made; those made for it go."""
        await self._give_back(container, container.made_volumes)
        await in_thread(unmount_root, self._places.directories(container))

    async def attach(self, container: Container) -> None:
        """Mount what a start needs on the host; `container.staged` says where it is then.

        Raises in dockerd's words what cannot be mounted.
        """
        staged = []
        for position, point in enumerate(container.mounts):
            try:
                staged.append(await self._stage(container, str(position), point))
            except OSError as error:
                raise EngineError(
                    f"error while mounting {point.type} '{point.name}': "
                    f"{(error.strerror or str(error)).lower()}"
                ) from error
        container.staged = tuple(staged)
        for point in _volumes_of(container):
            self._volumes.tell_mounted(
                point.name, container.id, point.destination, writable=not point.read_only
            )

    async def taken_over(self, container: Container) -> None:
        """Take away what `attach` mounted for the runtime, which has its own mounts of it now."""
        if container.staged != container.mounts:
            await self._unstage(container)

    async def detach(self, container: Container) -> None:
        """Undo `attach`; what fails is logged."""
        if not container.mounts:
            return
        await self._unstage(container)
        for name in _names(container):
            if await self._volumes.detach(name, container.id):
                self._volumes.tell_unmounted(name, container.id)

    async def _unstage(self, container: Container) -> None:
        try:
            await in_thread(unstage, self._places.directories(container).mounts)
        except OSError as error:
            self.log.warn("mounts of {id} are left: {error}", id=container.id, error=error)
        container.staged = ()

    async def forget(self, container: Container) -> None:
        """Give back the volumes of a container that was removed.

        Anonymous ones go with it where that was asked for, unless another container has them.
        """
        await self.detach(container)
        takes = container.takes_volumes or container.host_config.auto_remove
        doomed = [one.name for one in _volumes_of(container) if takes and one.anonymous]
        await self._give_back(container, doomed)

    async def reconcile(self) -> None:
        """Take up the volumes of containers that run, and unmount those of all others."""
        living = [one for one in self._registry if one.state.running]
        await self._volumes.reconcile(
            [(container.id, name) for container in living for name in _names(container)]
        )

    def _requests(self, container: Container, asked: Sequence[Request]) -> Iterator[Request]:
        """Give every mount that a container is to have, one for each destination."""
        found: dict[str, Request] = {}
        for text in container.host_config.volumes_from or ():
            reference, writable = parse_from(text)
            for point in self._mounts_of(reference):
                inherited = structs.replace(
                    point, mode="", copy=False, read_only=point.read_only or not writable
                )
                wanted = Wanted(point.name, point.driver)
                found[point.destination] = Request(inherited, wanted)
        found.update((request.point.destination, request) for request in asked)
        for text in container.config.volumes or ():
            destination = clean(text)
            if destination == "/":
                raise InvalidParameter(
                    f"invalid volume specification: '{text}': invalid specification: "
                    "destination can't be '/'"
                )
            point = MountPoint(
                type=VOLUME,
                destination=destination,
                options=("rbind",),
                copy=True,
                anonymous=True,
            )
            driver = container.host_config.volume_driver
            found.setdefault(destination, Request(point, Wanted(driver=driver)))
        yield from found.values()

    def _mounts_of(self, reference: str) -> Sequence[MountPoint]:
        try:
            return [one for one in self._registry.get(reference).mounts if one.listed]
        except NotFound as missing:
            raise InvalidParameter(missing.message) from None

    async def _resolved(self, container: Container, request: Request) -> MountPoint:
        """Return the mount of `request` with its volume or image found."""
        point = request.point
        if point.type == BIND:
            return with_default(point, str(self._places.layout.root))
        if point.type == IMAGE:
            source = self._places.directories(container).mounts / str(len(container.mounts))
            image = await self._places.image(point.name)
            return structs.replace(point, image=image.id, source=str(source))
        if point.type != VOLUME:
            return point
        volume, made = await self._volumes.claim(container.id, request.volume)
        if made:
            container.made_volumes.append(volume.name)
        return structs.replace(
            point,
            name=volume.name,
            driver=volume.driver,
            source=str(self._volumes.path(volume.name)),
        )

    async def _fill(self, container: Container) -> None:
        """Copy what the image has into volumes that are empty."""
        wanting = [point for point in _volumes_of(container) if point.copy]
        if not wanting:
            return
        layers = await self._places.layers(container)
        directories = self._places.directories(container)
        volatile = container.host_config.auto_remove
        await in_thread(mount_root, directories, layers, volatile=volatile)
        try:
            for point in wanting:
                await self._fill_one(container, point, directories.merged)
        finally:
            await in_thread(unmount_root, directories)

    async def _fill_one(self, container: Container, point: MountPoint, root: Path) -> None:
        try:
            if not await in_thread(exists_in, root, point.destination):
                return
        except NotADirectory:
            raise EngineError(
                f"cannot mount volume over existing file, file exists {root}{point.destination}"
            ) from None
        holder = f"copy-{container.id}"
        await self._volumes.attach(point.name, holder)
        try:
            await in_thread(self._copy_up, container, point, root)
        except OSError as error:
            raise EngineError(
                f"failed to copy into the volume {point.name}: {error.filename or ''}: "
                f"{error.strerror}"
            ) from error
        finally:
            await self._volumes.detach(point.name, holder)

    def _copy_up(self, container: Container, point: MountPoint, root: Path) -> None:
        """Copy what `root` has into a volume, or that part of it that is mounted; blocks.

        A part that is not there is none yet: the start will say so.
        """
        target = Path(point.source)
        if not point.subpath:
            copy_up(root, point.destination, target)
            return
        staging = self._places.directories(container).mounts
        try:
            copy_up(
                root, point.destination, stage_directory(staging, "fill", target, point.subpath)
            )
        except NoSuchPath:
            return
        except InvalidParameter as error:
            raise InvalidParameter(f"failed to populate volume: {error.message}") from error
        finally:
            unstage(staging)

    async def _stage(self, container: Container, name: str, point: MountPoint) -> MountPoint:
        """Make the mounts on the host that a mount of a container needs; return what is bound."""
        if point.type == TMPFS:
            return point
        staging = self._places.directories(container).mounts
        if point.type == BIND:
            return await in_thread(_bound, point, self._places.layout, staging, name)
        if point.type == IMAGE:
            layers = await self._places.layers_of(point.image)
            source = await in_thread(stage_image, staging, name, layers, point.subpath)
            return structs.replace(point, source=str(source))
        mounted = await self._volumes.attach(point.name, container.id)
        if not (mounted or point.subpath):
            return point
        data = Path(point.source)
        source = await in_thread(stage_directory, staging, name, data, point.subpath)
        # A runtime may take away what is not said again.
        read_only = point.read_only or self._volumes.is_read_only(point.name)
        return structs.replace(point, source=str(source), read_only=read_only)

    async def _give_back(
        self, container: Container, doomed: Sequence[str], kept: Collection[str] = ()
    ) -> None:
        for name in _names(container):
            if name not in kept:
                self._volumes.release(container.id, name)
        for name in dict.fromkeys(doomed):
            try:
                await self._volumes.remove_unused(name)
            except EngineError as error:
                self.log.warn(
                    "the volume {name} is left: {reason}", name=name, reason=error.message
                )


def _bound(point: MountPoint, layout: Layout, staging: Path, name: str) -> MountPoint:
    """Return a bind as the runtime makes it: by way of `staging` where mounts are to be seen.

    A copy of the mounts of all containers is made nowhere: while it is there, none of them could be
    removed.
    """
    point = checked(point, str(layout.root))
    make_sources([point])
    if point.recursive and not os.path.isdir(point.source):
        # A file holds no mounts, and crun 1.8 cannot make one read-only with what it holds.
        point = structs.replace(point, recursive="")
    own = any(overlap(point.source, str(path)) for path in (layout.root, layout.run))
    if own or not has_mounts(point.source):
        return point
    return structs.replace(
        point, source=str(stage_bind(staging, name, point.source, point.propagation))
    )


def _volumes_of(container: Container) -> list[MountPoint]:
    return [point for point in container.mounts if point.type == VOLUME]


def _names(container: Container) -> list[str]:
    """Return the volumes of a container; one that is mounted twice once."""
    return list(dict.fromkeys(point.name for point in _volumes_of(container)))
