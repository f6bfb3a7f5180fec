"""API versions: their order, their bounds, and what a version did not have yet.

Rule: every difference between versions that is not a route's own stands here or beside its type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple


class Version(NamedTuple):
    """An API version; compares by major, then minor number."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``1.41``; what follows a second dot is ignored, a missing part is 0.

        Raises ValueError for anything else.
        """
        match = re.fullmatch(r"(\d{1,4})(?:\.(\d{1,4}))?(?:\.[\d.]*)?", text)
        if match is None:
            raise ValueError(f"not an API version: {text!r}")
        return cls(int(match[1]), int(match[2] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


#: The newest version of the specification.
NEWEST = Version(1, 55)
#: The oldest version that is served unless an option lowers it.
OLDEST = Version(1, 24)
#: The oldest version that can be asked for.
ANCIENT = Version(1, 12)


class _Change(NamedTuple):
    """A member of an answer that came or went with a version.

    `path` names it from the top; ``*`` stands for every member of an object, or item of a list.
    """

    path: str
    since: Version = Version(0, 0)
    until: Version = Version(9999, 0)


#: What dockerd leaves out of an answer by the client's version. The types that are made for one
#: version at a time (images, containers) know their own differences.
_CHANGES: dict[str, tuple[_Change, ...]] = {
    "SystemInfo": (
        _Change("Runtimes.*.status", since=Version(1, 44)),
        _Change("Containerd", since=Version(1, 46)),
        _Change("FirewallBackend", since=Version(1, 49)),
        _Change("DiscoveredDevices", since=Version(1, 50)),
        _Change("NRI", since=Version(1, 53)),
        _Change("ExecutionDriver", until=Version(1, 25)),
        _Change("KernelMemory", until=Version(1, 40)),
        _Change("KernelMemoryTCP", until=Version(1, 40)),
        _Change("RegistryConfig.AllowNondistributableArtifactsCIDRs", until=Version(1, 49)),
        _Change("RegistryConfig.AllowNondistributableArtifactsHostnames", until=Version(1, 49)),
        _Change("BridgeNfIptables", until=Version(1, 50)),
        _Change("BridgeNfIp6tables", until=Version(1, 50)),
        _Change("ContainerdCommit.Expected", until=Version(1, 49)),
        _Change("RuncCommit.Expected", until=Version(1, 49)),
        _Change("InitCommit.Expected", until=Version(1, 49)),
    ),
    "NetworkInspect": (_Change("Status", since=Version(1, 52)),),
}


@cache
def differences(operation: str, version: Version) -> tuple[str, ...]:
    """Return the paths of what an answer of `operation` does not have in `version`."""
    changes = _CHANGES.get(operation, ())
    return tuple(c.path for c in changes if not c.since <= version < c.until)


def adapt(operation: str, version: Version, answer: Any) -> Any:
    """Return `answer` (objects, lists and values) without what `version` does not have.

    The answer itself is left as it is: it may be kept for others.
    """
    for path in differences(operation, version):
        answer = _without(answer, path.split("."))
    return answer


def _without(value: Any, path: list[str]) -> Any:
    """Return `value` without the member at `path`; copies only what changes."""
    name, rest = path[0], path[1:]
    if name == "*" and isinstance(value, list):
        return [_without(item, rest) for item in value]
    if not isinstance(value, Mapping):
        return value
    if name == "*":
        return {key: _without(item, rest) for key, item in value.items()}
    if name not in value:
        return value
    if not rest:
        return {key: item for key, item in value.items() if key != name}
    return {**value, name: _without(value[name], rest)}
