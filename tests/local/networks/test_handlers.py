"""The operations of the tag Network, on real networks."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from dockerapi.engine.errors import Forbidden, InvalidParameter, NotFound
from dockerapi.model.versions import Version
from tests.local.networks.support import Networked, Rig, identity


class OperationTests(Networked):
    async def operations(self) -> Rig:
        rig = await self.started()
        rig.networks.register(rig.engine)
        return rig

    async def names(self, rig: Rig, query: str = "") -> list[str]:
        return [one["Name"] for one in await rig.job("NetworkList", query=query)]

    async def test_list(self) -> None:
        rig = await self.operations()
        self.assertEqual(await self.names(rig), ["none", "host", "bridge"])
        for filters, names in (
            ('{"driver":["bridge"]}', ["bridge"]),
            ('{"name":["ost","idg"]}', ["host", "bridge"]),
            ('{"type":{"custom":true}}', []),
            ('{"dangling":["true"]}', []),
            ('{"scope":["local"],"driver":["null"]}', ["none"]),
            ('{"label":["x"]}', []),
        ):
            self.assertEqual(await self.names(rig, f"filters={filters}"), names, filters)

    async def test_bad_filters(self) -> None:
        rig = await self.operations()
        for filters in ('{"nosuch":["x"]}', "[", '{"scope":["moon"]}', '{"type":["x"]}'):
            job = rig.job("NetworkList", query=f"filters={filters}")
            await self.assertFailure(Deferred.fromCoroutine(job), InvalidParameter)

    async def test_inspect(self) -> None:
        rig = await self.operations()
        sandbox = await rig.connect(1)
        (endpoint,) = sandbox.endpoints
        answer = await rig.job("NetworkInspect", "bridge")
        self.assertEqual(answer["Id"], endpoint.network_id)
        self.assertEqual(
            answer["Containers"],
            {
                identity(1): {
                    "Name": "c1",
                    "EndpointID": endpoint.id,
                    "MacAddress": endpoint.mac,
                    "IPv4Address": f"{endpoint.ip}/{endpoint.prefix_length}",
                    "IPv6Address": "",
                }
            },
        )
        self.assertEqual(answer["IPAM"]["Config"][0]["Gateway"], endpoint.gateway)
        subnet = answer["IPAM"]["Config"][0]["Subnet"]
        self.assertEqual(answer["Status"]["IPAM"]["Subnets"][subnet]["IPsInUse"], 4)
        self.assertEqual(answer["Options"]["com.docker.network.bridge.name"], rig.settings.bridge)

    async def test_inspect_by_version_and_reference(self) -> None:
        rig = await self.operations()
        id = (await rig.job("NetworkInspect", "host"))["Id"]
        for reference in (id, id[:12]):
            self.assertEqual((await rig.job("NetworkInspect", reference))["Name"], "host")
        old = await rig.job("NetworkInspect", "bridge", version=Version(1, 41))
        self.assertNotIn("Status", old)

    async def test_missing(self) -> None:
        rig = await self.operations()
        for name in ("NetworkInspect", "NetworkDelete"):
            failure = await self.assertFailure(
                Deferred.fromCoroutine(rig.job(name, "nosuch")), NotFound
            )
            self.assertEqual(failure.message, "network nosuch not found")

    async def test_predefined_ones_stay(self) -> None:
        rig = await self.operations()
        for name in ("bridge", "host", "none"):
            failure = await self.assertFailure(
                Deferred.fromCoroutine(rig.job("NetworkDelete", name)), Forbidden
            )
            self.assertEqual(
                failure.message, f"{name} is a pre-defined network and cannot be removed"
            )
