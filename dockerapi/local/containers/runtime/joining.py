"""Containers that run in the network of another (`--network container:NAME`).

Source: dockerd's texts and statuses. Rule: the other one must run when the first is started; what
becomes of it later is as the kernel has it.
"""

from __future__ import annotations

from dockerapi.engine.errors import Conflict, EngineError, NotFound
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.needs import Networks
from dockerapi.local.containers.registry import Registry
from dockerapi.model.containers import HostConfig

_PREFIX = "container:"


def joined_reference(mode: str) -> str | None:
    """Return the container that a network mode names; None for other modes."""
    return mode.removeprefix(_PREFIX) if mode.startswith(_PREFIX) else None


def joined_container(container: Container, registry: Registry) -> Container | None:
    """Return the running container whose network `container` is to join; None for none.

    Raises `Conflict` where it does not run, `EngineError` where there is none, or it is the
    container itself.
    """
    reference = joined_reference(container.host_config.network_mode)
    if reference is None:
        return None
    try:
        other = registry.get(reference)
    except NotFound as error:
        raise EngineError(f"joining network namespace of container: {error.message}") from None
    if other is container:
        raise EngineError("cannot join own network namespace")
    if other.state.status is Status.RESTARTING:
        raise Conflict(
            f"cannot join network namespace of container: Container {other.id} is restarting, "
            "wait until the container is running"
        )
    if not other.state.running:
        raise Conflict(
            "cannot join network namespace of a non running container: "
            f"container {other.name} is {other.state.status.value}"
        )
    return other


def join_names(container: Container, other: Container) -> None:
    """Give a container the host and domain name of the one whose network it joins."""
    container.config.hostname = other.config.hostname
    container.config.domainname = other.config.domainname


def join_again(container: Container, registry: Registry, networks: Networks) -> None:
    """Take up again that a running container has joined another, under a new server."""
    reference = joined_reference(container.host_config.network_mode)
    if reference is not None:
        try:
            other = registry.get(reference)
        except EngineError:
            # It is gone, and its namespace is this container's alone.
            return
        networks.share(other.id)
        join_names(container, other)


def owner_of_files(container: Container, registry: Registry) -> Container:
    """Return the container whose hosts, hostname and resolv.conf `container` has: often itself."""
    seen = {container.id}
    while (reference := joined_reference(container.host_config.network_mode)) is not None:
        try:
            other = registry.get(reference)
        except EngineError:
            return container
        if other.id in seen:
            return container
        seen.add(other.id)
        container = other
    return container


def resolve_joined(host: HostConfig, registry: Registry) -> None:
    """Write the id of the container that `host` names for its network, where there is one."""
    reference = joined_reference(host.network_mode)
    if reference is not None:
        try:
            host.network_mode = f"{_PREFIX}{registry.get(reference).id}"
        except NotFound:
            # It may be made before the start, which says so else.
            return
