"""The option `tag` of log drivers: a template of a container's names.

Source: dockerd's documentation, "Customize log driver output". Rule: of Go's templates only fields
are known (``{{.Name}}``); anything else is refused by name.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dockerapi.engine.errors import EngineError

if TYPE_CHECKING:
    from dockerapi.local.containers.container import Container

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_SHORT = 12

_FIELDS: Mapping[str, Callable[[Container], str]] = {
    "ID": lambda one: one.id[:_SHORT],
    "FullID": lambda one: one.id,
    "ContainerID": lambda one: one.id,
    "Name": lambda one: one.name,
    "ContainerName": lambda one: f"/{one.name}",
    "ImageID": lambda one: one.image.removeprefix("sha256:")[:_SHORT],
    "ImageFullID": lambda one: one.image,
    "ContainerImageID": lambda one: one.image,
    "ImageName": lambda one: one.config.image,
    "ContainerImageName": lambda one: one.config.image,
    "DaemonName": lambda _: "docker",
    "Command": lambda one: " ".join([one.path, *one.arguments]),
    "Hostname": lambda _: socket.gethostname(),
}


def log_tag(template: str, container: Container) -> str:
    """Return what `template` gives; raise `EngineError` in the words of Go's templates."""

    def field(match: re.Match[str]) -> str:
        expression = match[1]
        show = _FIELDS.get(expression.removeprefix(".")) if expression.startswith(".") else None
        if show is None:
            raise EngineError(
                f'template: log-tag:1:{match.start() + 2}: executing "log-tag" at <{expression}>: '
                f"can't evaluate field {expression.removeprefix('.')} in type *logger.Info"
            )
        return show(container)

    shown = _ACTION.sub(field, template)
    if "{{" in _ACTION.sub("", template):
        raise EngineError("template: log-tag:1: unclosed action")
    return shown
