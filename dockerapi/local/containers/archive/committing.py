"""ImageCommit: an image of what a container is now.

Source: the specification's ImageCommit; what is merged, and how, is dockerd's. Rule: the container
stands still while its files are read, and goes on whatever comes of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.engine.job import Job
from dockerapi.local.containers.archive.marks import mark_of
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.ledger import Ledger
from dockerapi.local.containers.life.control import Control
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.host.threads import finished, in_thread
from dockerapi.local.images.changes import apply_changes
from dockerapi.local.images.committing import Committer, Step
from dockerapi.local.images.service import Images
from dockerapi.model.archives import CommitRequest
from dockerapi.model.containers import ContainerConfig, as_words
from dockerapi.model.malformed import Malformed

#: What Go leaves out where it is empty.
_OPTIONAL = (
    *("ExposedPorts", "Healthcheck", "MacAddress", "NetworkDisabled"),
    *("Shell", "StopSignal", "StopTimeout"),
)


class Commits:
    """Handles ImageCommit."""

    def __init__(
        self,
        registry: Registry,
        places: Places,
        ledger: Ledger,
        control: Control,
        images: Images,
    ) -> None:
        self._registry = registry
        self._places = places
        self._ledger = ledger
        self._control = control
        self._images = images
        self._committer = Committer(images.catalogue, places.layout)

    def register(self, engine: Engine) -> None:
        """Register the handler, whose work goes on when its client leaves."""
        engine.register("ImageCommit", self.commit, detached=True)

    async def commit(self, job: Job) -> Answer:
        """Answer ImageCommit: the id of the new image.

        Raises `NotFound` where the container or its image is gone, `Conflict` where it is being
        removed, and `InvalidParameter` where none is named.
        """
        request = await job.request(CommitRequest)
        if not request.container:
            raise InvalidParameter('invalid name or ID supplied: ""')
        container = self._registry.get(request.container)
        config = _new_config(request, container)
        below = self._images.get(container.image)
        if below is None:
            raise NotFound(f"No such image: {container.image}")
        async with container.lock:
            if container.removing or container not in self._ledger:
                raise Conflict(f"You cannot commit container {container.id} which is being removed")
            # One that never ran has none.
            upper = self._places.directories(container).upper
            await finished(in_thread(upper.mkdir, parents=True, exist_ok=True))
        step = Step(
            config,
            " ".join(as_words(container.config.cmd)),
            request.author,
            request.comment,
            container=container.id,
            container_config=_document(container.config),
        )
        async with self._still(container, pause=request.pause):
            with self._ledger.telling_removal(container):
                image = await self._committer.commit(below, upper, step, request.name)
            reference = request.name.familiar if request.name is not None else ""
            self._ledger.publish(
                container, "commit", comment=request.comment, imageID=image.id, imageRef=reference
            )
        return {"Id": image.id}

    @asynccontextmanager
    async def _still(self, container: Container, *, pause: bool) -> AsyncIterator[None]:
        """Freeze a container that runs for the time of the block."""
        if not pause or container.state.status is not Status.RUNNING:
            yield
            return
        mark = mark_of(self._places.directories(container))
        await finished(in_thread(mark.touch))
        frozen = False
        try:
            with suppress(EngineError):
                # It may have ended, or somebody else froze it; dockerd goes on then, too.
                await self._control.pause(container)
                frozen = True
            try:
                yield
            finally:
                with suppress(EngineError):
                    # Somebody else may have thawed it, or it has ended.
                    if frozen:
                        await self._control.unpause(container)
        finally:
            await in_thread(mark.unlink, missing_ok=True)


def _new_config(request: CommitRequest, container: Container) -> dict[str, Any]:
    """Return what containers of the new image get from it.

    Raises `InvalidParameter` for a change that is none.
    """
    own = _document(container.config)
    given = own if request.config == ContainerConfig() else _document(request.config)
    try:
        config = apply_changes(given, request.changes)
    except Malformed as malformed:
        raise InvalidParameter(malformed.message) from malformed
    return _merged(config, own)


def _document(config: ContainerConfig) -> dict[str, Any]:
    """Return a configuration as the API writes it."""
    document: dict[str, Any] = msgspec.to_builtins(config)
    for name in ("Cmd", "Entrypoint"):
        if isinstance(document[name], str):
            document[name] = [document[name]]
    return {key: value for key, value in document.items() if value or key not in _OPTIONAL}


def _merged(config: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with what it leaves open as the container has it."""
    merged = dict(config)
    for name in ("User", "WorkingDir", "StopSignal", "Healthcheck"):
        if not merged.get(name) and own.get(name):
            merged[name] = own[name]
    for name in ("ExposedPorts", "Labels", "Volumes"):
        both = {**(own.get(name) or {}), **(merged.get(name) or {})}
        if both or name in merged:
            merged[name] = both or merged[name]
    if not merged.get("Entrypoint"):
        if not merged.get("Cmd"):
            merged["Cmd"] = own.get("Cmd")
        if merged.get("Entrypoint") is None:
            merged["Entrypoint"] = own.get("Entrypoint")
    known = {entry.partition("=")[0] for entry in merged.get("Env") or ()}
    more = [entry for entry in own.get("Env") or () if entry.partition("=")[0] not in known]
    merged["Env"] = [*(merged.get("Env") or ()), *more] or None
    return merged
