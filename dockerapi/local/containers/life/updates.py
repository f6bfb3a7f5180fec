"""ContainerUpdate: other limits and another restart policy, also while a container runs.

Source: the operation ContainerUpdate; which members may change, and the texts, are dockerd's.
Rule: the runtime is told first; what it refuses is not kept.
"""

from __future__ import annotations

import msgspec
from msgspec import structs

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError
from dockerapi.engine.job import Job
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.ledger import Ledger
from dockerapi.local.containers.life.restarting import check_policy
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.resources import (
    cgroup_support,
    check_resources,
    drop_unsupported,
    resources_spec,
)
from dockerapi.local.containers.runtime.tools import Toolbox
from dockerapi.local.containers.stats.cgroups import lift_cpu_quota, lift_pids_limit
from dockerapi.local.host.threads import in_thread
from dockerapi.model.container_requests import UpdateRequest
from dockerapi.model.containers import HostConfig

#: The limits that may change, where they are given (are neither 0, empty nor null).
_LIMITS = (
    *("blkio_weight", "cpu_shares", "nano_cpus", "cpu_period", "cpu_quota", "cpuset_cpus"),
    *("cpuset_mems", "memory", "memory_swap", "memory_reservation", "cpu_realtime_period"),
    *("cpu_realtime_runtime",),
)
#: What excludes what, with the words for each.
_EXCLUSIVE = (
    ("nano_cpus", "cpu_period", "Nano CPUs cannot be updated as CPU Period has already been set"),
    ("nano_cpus", "cpu_quota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
    ("cpu_period", "nano_cpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
    ("cpu_quota", "nano_cpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
)


class Updates:
    """Changes what containers may use."""

    def __init__(self, registry: Registry, ledger: Ledger, toolbox: Toolbox) -> None:
        self._registry = registry
        self._ledger = ledger
        self._toolbox = toolbox

    def register(self, engine: Engine) -> None:
        """Register the handler of this module."""
        engine.register("ContainerUpdate", self.update, detached=True)

    async def update(self, job: Job) -> Answer:
        """Answer ContainerUpdate with its warnings.

        Raises `Conflict` where the container is being removed or cannot be read.
        """
        request = await job.request(UpdateRequest)
        container = self._registry.get(request.container)
        check_policy(request.changes.restart_policy)
        check_resources(request.changes, update=True)
        changes, warnings = drop_unsupported(request.changes, cgroup_support())
        async with container.lock:
            if container.status in (Status.REMOVING, Status.DEAD):
                raise Conflict(
                    _cannot(container, 'container is marked for removal and cannot be "update"')
                )
            updated = merged(container, changes)
            if container.state.running:
                await self._apply(container, updated)
            await self._ledger.configure(container, updated)
        return {"Warnings": warnings or None}

    async def _apply(self, container: Container, updated: HostConfig) -> None:
        resources = resources_spec(updated)
        before = resources_spec(container.host_config)
        if "pids" in before and "pids" not in resources:
            # Runtimes take no limit as none said.
            await in_thread(lift_pids_limit, container.id, container.state.pid)
        if "quota" in before.get("cpu", ()) and "quota" not in resources.get("cpu", ()):
            await in_thread(lift_cpu_quota, container.id, container.state.pid)
        if resources == before:
            return
        runtime = self._toolbox.require().runtime_of(container.id)
        try:
            await runtime.check(
                "update",
                "--resources",
                "-",
                container.id,
                stdin=msgspec.json.encode(resources),
            )
        except EngineError as error:
            raise EngineError(_cannot(container, error.message)) from error


def merged(container: Container, changes: HostConfig) -> HostConfig:
    """Return the host configuration of `container` with `changes`.

    Raises `Conflict` for what does not go together with what it has.
    """
    host = container.host_config
    for wanted, present, text in _EXCLUSIVE:
        if getattr(changes, wanted) > 0 and getattr(host, present) > 0:
            raise Conflict(_cannot(container, f"Conflicting options: {text}"))
    if changes.memory and changes.memory > host.memory_swap and not changes.memory_swap:
        raise Conflict(
            _cannot(
                container,
                "Memory limit should be smaller than already set memoryswap limit, "
                "update the memoryswap at the same time",
            )
        )
    new = {name: getattr(changes, name) for name in _LIMITS if getattr(changes, name)}
    if changes.pids_limit is not None:
        # 0 and less are all "no limit".
        new["pids_limit"] = max(changes.pids_limit, 0)
    if changes.restart_policy.name:
        if host.auto_remove and changes.restart_policy.name != "no":
            raise Conflict(
                _cannot(
                    container,
                    "Restart policy cannot be updated because AutoRemove is enabled for the "
                    "container",
                )
            )
        new["restart_policy"] = changes.restart_policy
    return structs.replace(host, **new)


def _cannot(container: Container, reason: str) -> str:
    return f"Cannot update container {container.id}: {reason}"
