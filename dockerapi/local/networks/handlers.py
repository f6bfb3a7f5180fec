"""The operations NetworkList, NetworkInspect and NetworkDelete, answered from memory.

Rule: only the predefined networks exist yet; what makes or changes networks is not registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, Forbidden, NotFound
from dockerapi.engine.events import Event, EventBus
from dockerapi.engine.job import Job
from dockerapi.local.networks.bridge import NetworkSettings
from dockerapi.local.networks.records import NetworkRecord
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.networks import (
    NetworkInspectRequest,
    NetworkListRequest,
    NetworkMember,
    NetworkPruneRequest,
    NetworkView,
)


class NetworkHandlers:
    """Answers about the networks that `views` returns; events go to `events`."""

    def __init__(self, views: Callable[[], list[NetworkView]], events: EventBus) -> None:
        self._views = views
        self._events = events

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("NetworkList", self.list)
        engine.register("NetworkInspect", self.inspect)
        engine.register("NetworkDelete", self.delete)
        engine.register("NetworkPrune", self.prune)

    async def list(self, job: Job) -> Answer:
        """Answer NetworkList: the networks that pass the filters."""
        request = await job.request(NetworkListRequest)
        return [net.entry(job.version) for net in self._views() if request.wants(net)]

    async def inspect(self, job: Job) -> Answer:
        """Answer NetworkInspect: one network with its containers.

        Raises `NotFound`.
        """
        request = await job.request(NetworkInspectRequest)
        network = self._find(request.network)
        if request.scope not in ("", "local"):
            raise NotFound(f"network {request.network} not found")
        return network.details(job.version)

    async def delete(self, job: Job) -> Answer:
        """Refuse NetworkDelete of a predefined network."""
        network = self._find(job.args[0])
        raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")

    async def prune(self, job: Job) -> Answer:
        """Answer NetworkPrune: predefined networks stay, and there are no others."""
        await job.request(NetworkPruneRequest)
        self._events.publish(Event("network", "prune", "", {"reclaimed": "0"}))
        return {"NetworksDeleted": None}

    def _find(self, reference: str) -> NetworkView:
        """Return a network by id, name or the beginning of an id, in dockerd's order."""
        networks = self._views()
        for network in networks:
            if reference in (network.id, network.name):
                return network
        found = [network for network in networks if reference and network.id.startswith(reference)]
        if len(found) > 1:
            raise Conflict(
                f"network {reference} is ambiguous ({len(found)} matches found based on ID prefix)"
            )
        if not found:
            raise NotFound(f"network {reference} not found")
        return found[0]


def view(
    network: NetworkRecord,
    settings: NetworkSettings,
    sandboxes: Iterable[Sandbox],
) -> NetworkView:
    """Return `network` as the API tells of it, with its members among `sandboxes`."""
    members = {
        sandbox.container: NetworkMember(
            endpoint.name,
            endpoint.id,
            endpoint.mac,
            f"{endpoint.ip}/{endpoint.prefix_length}" if endpoint.ip else "",
        )
        for sandbox in sandboxes
        for endpoint in sandbox.endpoints
        if endpoint.network_id == network.id
    }
    if network.address is None:
        return NetworkView(
            network.id, network.name, network.driver, network.created, members=members
        )
    subnet = network.address.network
    # dockerd counts the gateway and the two addresses of the network itself as in use.
    in_use = len(members) + 3
    return NetworkView(
        id=network.id,
        name=network.name,
        driver=network.driver,
        created=network.created,
        subnet=str(subnet),
        gateway=str(network.address.ip),
        options={
            "com.docker.network.bridge.default_bridge": "true",
            "com.docker.network.bridge.enable_icc": _truth(settings.communicate),
            "com.docker.network.bridge.enable_ip_masquerade": _truth(settings.masquerade),
            "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
            "com.docker.network.bridge.name": settings.bridge,
            "com.docker.network.driver.mtu": str(settings.mtu),
        },
        members=members,
        in_use=in_use,
        available=subnet.num_addresses - in_use,
    )


def _truth(value: bool) -> str:
    return "true" if value else "false"
