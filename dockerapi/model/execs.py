"""The vocabulary of execs: what ContainerExec and ExecStart ask for.

Source: the tag Exec of the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import attrs
from msgspec import Struct

from dockerapi.model.containers import Words, as_words
from dockerapi.model.decode import decode_json
from dockerapi.model.envelope import Envelope
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import Version


class ExecConfig(Struct, rename="pascal"):
    """The body of ContainerExec."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: list[int] | None = None
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: Words = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""


class ExecStartConfig(Struct, rename="pascal"):
    """The body of ExecStart; `console_size` is height and width."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


@attrs.frozen
class ExecCreateRequest:
    """ContainerExec."""

    container: str
    config: ExecConfig

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a body that names no command."""
        config = decode_json(await envelope.read(), ExecConfig)
        if not as_words(config.cmd):
            raise Malformed("No exec command specified")
        return cls(args[0], config)


@attrs.frozen
class ExecStartRequest:
    """ExecStart."""

    exec_id: str
    config: ExecStartConfig
    version: Version

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a body that is none."""
        body = await envelope.read()
        config = decode_json(body, ExecStartConfig) if body.strip() else ExecStartConfig()
        size = config.console_size
        if size is not None and (len(size) != 2 or not all(0 <= part <= 0xFFFF for part in size)):
            raise Malformed("invalid console size: want height and width")
        return cls(args[0], config, version)


@attrs.frozen
class ExecRequest:
    """An operation that says nothing but which exec."""

    exec_id: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request."""
        return cls(args[0])
