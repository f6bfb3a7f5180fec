"""The namespaces of a container: its own, the host's, or those of another container.

Source: the `*Mode` members of `HostConfig`; texts as dockerd's. Rule: another container is found
when it is needed, and must run then.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import structs

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.registry import Registry
from dockerapi.model.containers import HostConfig

_PREFIX = "container:"
#: Each mode's values beside the empty one, by its name in texts.
_MODES = {
    "ipc_mode": ("IPC", ("host", "private", "shareable", "none")),
    "pid_mode": ("PID", ("host",)),
    "uts_mode": ("UTS", ("host",)),
    "userns_mode": ("USER", ("host",)),
    "cgroupns_mode": ("cgroup namespace", ("host", "private")),
}
_JOINABLE = ("ipc_mode", "pid_mode")


class Joined(msgspec.Struct, frozen=True):
    """Namespaces of other containers, by path; None where there is none to join.

    :ivar shm: the directory of the host that is its /dev/shm, its own or another's.
    """

    pid: Path | None = None
    ipc: Path | None = None
    shm: Path | None = None


def check_modes(host: HostConfig) -> None:
    """Raise `InvalidParameter` for namespaces that cannot be."""
    for field, (title, allowed) in _MODES.items():
        mode: str = getattr(host, field)
        if mode in ("", *allowed):
            continue
        if field not in _JOINABLE or not mode.startswith(_PREFIX) or mode == _PREFIX:
            raise InvalidParameter(f"invalid {title} mode: {mode}")


def resolve_modes(host: HostConfig, registry: Registry) -> None:
    """Write the ids of the containers that modes of `host` name.

    Raises `InvalidParameter` where there is none: to a client a `NotFound` would say that the image
    is missing, and it would pull it.
    """
    for field in _JOINABLE:
        mode: str = getattr(host, field)
        if mode.startswith(_PREFIX):
            try:
                other = registry.get(mode.removeprefix(_PREFIX))
            except NotFound as error:
                raise InvalidParameter(error.message) from error
            setattr(host, field, f"{_PREFIX}{other.id}")


def shares_ipc(host: HostConfig) -> bool:
    """Tell whether other containers may join the IPC namespace of one with `host`."""
    return host.ipc_mode == "shareable"


def join(container: Container, registry: Registry, shm: Callable[[Container], Path]) -> Joined:
    """Return the namespaces that `container` joins; `shm` finds what a container shares.

    Raises `NotFound`, `Conflict` and `EngineError` in dockerd's words.
    """
    host = container.host_config
    joined = Joined()
    if host.pid_mode.startswith(_PREFIX):
        other = _running(registry, host.pid_mode, "PID")
        joined = structs.replace(joined, pid=Path(f"/proc/{other.state.pid}/ns/pid"))
    if host.ipc_mode.startswith(_PREFIX):
        other = _running(registry, host.ipc_mode, "IPC")
        if not shares_ipc(other.host_config):
            raise EngineError(
                f"cannot join IPC of container {other.id}: non-shareable IPC (hint: use "
                "IpcMode:shareable for the donor container)"
            )
        ipc = Path(f"/proc/{other.state.pid}/ns/ipc")
        joined = structs.replace(joined, ipc=ipc, shm=shm(other))
    elif shares_ipc(host):
        joined = structs.replace(joined, shm=shm(container))
    return joined


def _running(registry: Registry, mode: str, kind: str) -> Container:
    other = registry.get(mode.removeprefix(_PREFIX))
    if other.state.status is Status.RESTARTING:
        raise Conflict(
            f"cannot join {kind} of container {other.id}: Container {other.id} is restarting, "
            "wait until the container is running"
        )
    if not other.state.running:
        error = EngineError if kind == "PID" else Conflict
        raise error(f"failed to join {kind} namespace: container {other.id} is not running")
    return other
