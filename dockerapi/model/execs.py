"""The vocabulary of execs: what ContainerExec and ExecStart ask for.

Source: the tag Exec of the specification. Rule: syntax is checked here, meaning by the backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import msgspec
from msgspec import Struct

from dockerapi.model.decode import decode_json
from dockerapi.model.envelope import Envelope
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import Version

#: From here on the body of a start has to be told to be JSON.
_TYPE_TOLD = Version(1, 22)
#: From here on a terminal's first size is taken.
_SIZES = Version(1, 42)


class ExecConfig(Struct, rename="pascal"):
    """The body of ContainerExec; `size` is its `console_size`, where that counts."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: list[int] | None = None
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the terminal, or None."""
        return _size(self.console_size) if self.console_size is not None else None


class ExecStartConfig(Struct, rename="pascal"):
    """The body of ExecStart."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


class ExecCreateRequest(msgspec.Struct, frozen=True):
    """ContainerExec."""

    container: str
    config: ExecConfig

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a body that names no command."""
        body = await envelope.read_json()
        config = decode_json(body, ExecConfig) if body else ExecConfig()
        if not config.cmd:
            raise Malformed("No exec command specified")
        if version < _SIZES:
            config.console_size = None
        if config.console_size is not None:
            _size(config.console_size)
        return cls(args[0], config)


class ExecStartRequest(msgspec.Struct, frozen=True):
    """ExecStart.

    :ivar tty: whether its output is bare; whether there is a terminal the exec itself says.
    :ivar console_size: height and width of the terminal, or None.
    """

    exec_id: str
    detach: bool
    tty: bool
    console_size: tuple[int, int] | None
    version: Version

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a body that is none."""
        told = version >= _TYPE_TOLD
        body = await (envelope.read_json() if told else envelope.read())
        config = decode_json(body, ExecStartConfig) if body else ExecStartConfig()
        size = None
        if config.console_size is not None and config.tty and version >= _SIZES:
            size = _size(config.console_size)
        return cls(args[0], config.detach, config.tty, size, version)


class ExecRequest(msgspec.Struct, frozen=True):
    """An operation that says nothing but which exec."""

    exec_id: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0])


def _size(parts: list[int]) -> tuple[int, int]:
    """Return height and width; what is missing is 0, what a terminal cannot hold is cut."""
    if any(part < 0 for part in parts):
        raise Malformed("invalid console size: want height and width")
    height, width, *_ = (*parts, 0, 0)
    return height & 0xFFFF, width & 0xFFFF
