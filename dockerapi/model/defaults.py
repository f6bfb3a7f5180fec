"""What containers have where their client says nothing, as options of the server say it.

Source: dockerd's options default-ulimit, default-shm-size, default-ipc-mode and init; its texts.
Rule: pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Self

import msgspec

from dockerapi.model.containers import Ulimit
from dockerapi.model.malformed import Malformed

IPC_MODES = ("private", "shareable")
_NAMES = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"),
        *("nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.ASCII | re.IGNORECASE)


class ContainerDefaults(msgspec.Struct, frozen=True):
    """The defaults.

    :ivar ulimits: for what a container has no limit of its own.
    :ivar shm_size: the bytes of /dev/shm.
    :ivar init: whether an init program forwards signals and reaps processes.
    """

    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 64 * 1024 * 1024
    ipc_mode: str = "private"
    init: bool = False

    @classmethod
    def parse(cls, ulimits: Iterable[str], shm_size: str, ipc_mode: str, *, init: bool) -> Self:
        """Read the options as they are written; raise `Malformed`."""
        if ipc_mode not in IPC_MODES:
            raise Malformed(f"invalid default IPC mode {ipc_mode}: want {' or '.join(IPC_MODES)}")
        # The last one of each name counts, as in dockerd.
        limits = {limit.name: limit for limit in map(parse_ulimit, ulimits)}
        return cls(tuple(limits.values()), parse_memory(shm_size), ipc_mode, init)


def with_defaults(own: Iterable[Ulimit] | None, defaults: Iterable[Ulimit]) -> list[Ulimit]:
    """Return a container's limits: its own, and of `defaults` those that it does not have."""
    given = list(own or ())
    names = {limit.name.lower() for limit in given}
    return [*given, *(limit for limit in defaults if limit.name not in names)]


def parse_ulimit(text: str) -> Ulimit:
    """Read ``NAME=SOFT[:HARD]``; raise `Malformed`."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise Malformed(f"invalid ulimit argument: {text}")
    if name not in _NAMES:
        raise Malformed(f"invalid ulimit type: {name}")
    soft, _, hard = limits.partition(":")
    try:
        made = Ulimit(name, int(soft), int(hard or soft))
    except ValueError:
        raise Malformed(f"invalid ulimit argument: {text}") from None
    if made.hard != -1 and not -1 < made.soft <= made.hard:
        raise Malformed(
            f"ulimit soft limit must be less than or equal to hard limit: {made.soft} > {made.hard}"
        )
    return made


def parse_memory(text: str) -> int:
    """Read ``64m`` (67,108,864) as bytes; raise `Malformed`."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise Malformed(f"invalid size: '{text}'")
    bytes_ = int(float(match[1]) * 1024 ** (" kmgtp".index(match[2].lower() or " ")))
    if not 0 < bytes_ < 1 << 63:
        raise Malformed(f"invalid size: '{text}'")
    return bytes_
