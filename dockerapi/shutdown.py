"""Stopping the containers at the server's end (`--stop-containers`).

Rule: a backend that knows how does it itself; else the jobs are run that any client could run.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.answers import Answer, Encoded
from dockerapi.engine.backend import Backend, StopsContainers
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError

log = Logger()


async def stop_all_containers(engine: Engine, backend: Backend) -> None:
    """Stop every running container, all at once, each with its own time-out.

    What cannot be stopped is logged.
    """
    if isinstance(backend, StopsContainers):
        await backend.stop_all()
        return
    try:
        containers = _plain(await engine.job("ContainerList").run())
    except EngineError as error:
        log.error("cannot stop the containers: {error}", error=error.message)
        return
    stopping: list[Deferred[Any]] = []
    for container in containers:
        identity = str(container["Id"])
        stop = engine.job("ContainerStop", identity).run()
        stopping.append(stop.addErrback(_log_failure, identity))
    await DeferredList(stopping)


def _plain(answer: Answer) -> list[dict[str, Any]]:
    document = (
        msgspec.json.decode(answer.body)
        if isinstance(answer, Encoded)
        else msgspec.to_builtins(answer)
    )
    return document if isinstance(document, list) else []


def _log_failure(failure: Failure, identity: str) -> None:
    log.error("cannot stop {identity}: {error}", identity=identity, error=failure.getErrorMessage())
