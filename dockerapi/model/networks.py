"""Requests and answers of the tag Network: list, inspect, remove.

Source: the specification's NetworkList, NetworkInspect, NetworkDelete; the fields that came with a
version stand here. Rule: syntax is checked here, meaning by the backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from dockerapi.model.envelope import Envelope
from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed
from dockerapi.model.moments import parse_until
from dockerapi.model.query import Query
from dockerapi.model.timestamps import rfc3339
from dockerapi.model.versions import Version

_PRUNE_FILTERS = ("label", "label!", "until")
_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_SCOPES = ("swarm", "global", "local")
_STATUS_SINCE = Version(1, 52)
#: Below it, answers are those of dockerd 20.10.
_CURRENT = Version(1, 40)
#: Below it, NetworkList tells of members as NetworkInspect does.
_MEMBERS_LISTED = Version(1, 28)


class NetworkMember(msgspec.Struct, frozen=True):
    """A container on a network, as NetworkInspect tells of it.

    :ivar address: with its prefix length, as in ``172.18.0.2/16``; empty without one.
    """

    name: str
    endpoint_id: str
    mac: str
    address: str


class NetworkView(msgspec.Struct, frozen=True):
    """What the API tells of a network.

    :ivar created: nanoseconds since 1970.
    :ivar subnet: in CIDR form; empty where addresses are not managed.
    :ivar in_use: the number of its addresses that are taken, and `available` of those that are not.
    """

    id: str
    name: str
    driver: str
    created: int
    subnet: str = ""
    gateway: str = ""
    options: Mapping[str, str] = msgspec.field(default_factory=dict)
    predefined: bool = True
    members: Mapping[str, NetworkMember] = msgspec.field(default_factory=dict)
    in_use: int = 0
    available: int = 0

    def _summary(self, version: Version) -> dict[str, Any]:
        """Return what every answer at `version` tells of it."""
        config = [{"Subnet": self.subnet, "Gateway": self.gateway}] if self.subnet else None
        if config is None and version < _CURRENT:
            config = []
        return {
            "Name": self.name,
            "Id": self.id,
            "Created": rfc3339(self.created),
            "Scope": "local",
            "Driver": self.driver,
            **({"EnableIPv4": True} if version >= _CURRENT else {}),
            "EnableIPv6": False,
            "IPAM": {"Driver": "default", "Options": None, "Config": config},
            "Internal": False,
            "Attachable": False,
            "Ingress": False,
            "ConfigFrom": {"Network": ""},
            "ConfigOnly": False,
            "Options": dict(self.options),
            "Labels": {},
        }

    def entry(self, version: Version) -> dict[str, Any]:
        """Return its entry in the answer of NetworkList at `version`."""
        if version < _MEMBERS_LISTED:
            return self.details(version)
        answer = self._summary(version)
        if version < _CURRENT:
            answer["Containers"] = {}
        return answer

    def details(self, version: Version) -> dict[str, Any]:
        """Return the answer of NetworkInspect at `version`."""
        answer = self._summary(version)
        answer["Containers"] = {
            container: {
                "Name": member.name,
                "EndpointID": member.endpoint_id,
                "MacAddress": member.mac,
                "IPv4Address": member.address,
                "IPv6Address": "",
            }
            for container, member in self.members.items()
        }
        if version >= _STATUS_SINCE and self.subnet:
            usage = {"IPsInUse": self.in_use, "DynamicIPsAvailable": self.available}
            answer["Status"] = {"IPAM": {"Subnets": {self.subnet: usage}}}
        return answer


class NetworkPruneRequest(msgspec.Struct, frozen=True):
    """NetworkPrune."""

    filters: Filters

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a filter or a time that is none."""
        filters = Filters.parse(Query(envelope.query).text("filters"), _PRUNE_FILTERS)
        for text in filters.get("until"):
            parse_until(text)
        return cls(filters)


class NetworkListRequest(msgspec.Struct, frozen=True):
    """Which networks NetworkList shall tell of."""

    filters: Filters

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a filter that is none."""
        filters = Filters.parse(Query(envelope.query).text("filters"), _FILTERS)
        for scope in filters.get("scope"):
            if scope not in _SCOPES:
                raise Malformed(f"invalid filter 'scope={scope}'")
        for kind in filters.get("type"):
            if kind not in ("custom", "builtin"):
                raise Malformed(f"invalid filter: 'type'='{kind}'")
        filters.truth("dangling", False)
        return cls(filters)

    def wants(self, network: NetworkView) -> bool:
        """Tell whether `network` passes the filters."""
        filters = self.filters
        return (
            filters.exact("driver", network.driver)
            and filters.exact("scope", "local")
            and filters.exact("type", "builtin" if network.predefined else "custom")
            and _partly(filters.get("name"), network.name)
            and _partly(filters.get("id"), network.id)
            and filters.labels({})
            and self._dangling(network)
        )

    def _dangling(self, network: NetworkView) -> bool:
        if "dangling" not in self.filters:
            return True
        unused = not network.predefined and not network.members
        return unused == self.filters.truth("dangling", False)


class NetworkInspectRequest(msgspec.Struct, frozen=True):
    """Which network NetworkInspect shall tell of."""

    network: str
    scope: str

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; raise `Malformed` for a `verbose` that is no truth value."""
        query = Query(envelope.query)
        verbose = query.text("verbose")
        if verbose.lower() not in ("", "0", "1", "f", "t", "false", "true"):
            raise Malformed(
                f'invalid value for verbose: strconv.ParseBool: parsing "{verbose}": invalid syntax'
            )
        return cls(args[0], query.text("scope"))


def _partly(wanted: Sequence[str], value: str) -> bool:
    """Tell whether nothing is wanted, or `value` holds one of the texts."""
    return not wanted or any(text in value for text in wanted)
