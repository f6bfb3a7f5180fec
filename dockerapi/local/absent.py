"""What this engine never has: a swarm, plugins, a build cache; answered as a daemon without them.

Source: dockerd's texts and statuses. Rule: what would make one of them is not registered and
answers 501, but who asks what there is learns that there is nothing.
"""

from __future__ import annotations

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import NotFound, Unavailable
from dockerapi.engine.job import Job

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
    "this node to swarm and try again."
)
_SWARM = (
    *("SwarmInspect", "SwarmUpdate", "SwarmUnlockkey", "SwarmUnlock"),
    *("NodeList", "NodeInspect", "NodeDelete", "NodeUpdate"),
    *("ServiceList", "ServiceCreate", "ServiceInspect", "ServiceDelete", "ServiceUpdate"),
    *("ServiceLogs", "TaskList", "TaskInspect", "TaskLogs"),
    *("SecretList", "SecretCreate", "SecretInspect", "SecretDelete", "SecretUpdate"),
    *("ConfigList", "ConfigCreate", "ConfigInspect", "ConfigDelete", "ConfigUpdate"),
)
_PLUGIN = (
    *("PluginInspect", "PluginDelete", "PluginEnable", "PluginDisable", "PluginUpgrade"),
    *("PluginPush", "PluginSet"),
)


def register(engine: Engine) -> None:
    """Register the handlers of this module."""
    for name in _SWARM:
        engine.register(name, _no_manager)
    engine.register("SwarmLeave", _no_member)
    engine.register("PluginList", _no_plugins)
    for name in _PLUGIN:
        engine.register(name, _no_plugin)
    engine.register("BuildPrune", _nothing_built)


async def _no_manager(_: Job) -> Answer:
    raise Unavailable(_NO_MANAGER)


async def _no_member(_: Job) -> Answer:
    raise Unavailable("This node is not part of a swarm")


async def _no_plugins(_: Job) -> Answer:
    return []


async def _no_plugin(job: Job) -> Answer:
    raise NotFound(f'plugin "{job.args[0]}" not found')


async def _nothing_built(_: Job) -> Answer:
    return {"CachesDeleted": None, "SpaceReclaimed": 0}
