"""Containers that are being made or removed: what others know of them meanwhile."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from dockerapi.engine.errors import Conflict, NotFound
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.ledger import Ledger
from tests.local.containers.support import RigCase


class MakingTests(RigCase):
    """While its record is written."""

    async def setUp(self) -> None:
        await super().setUp()
        self.written: Deferred[None] = Deferred()
        insert = Ledger.insert

        async def slow(ledger: Ledger, container: Container) -> None:
            await self.written
            await insert(ledger, container)

        self.patch(Ledger, "insert", slow)
        self.made: Deferred[Any] = Deferred.fromCoroutine(self.rig.create("true", name="box"))

    def users(self) -> list[str]:
        return [one.name for one in self.rig.containers.registry.using(self.rig.images.image.id)]

    async def test_it_uses_its_image_already(self) -> None:
        while not self.users():
            await deferLater(reactor, 0.01)
        self.assertEqual([one.name for one in self.rig.containers.registry], [])
        self.written.callback(None)
        await self.made
        self.assertEqual(self.users(), ["box"])

    async def test_what_fails_uses_nothing(self) -> None:
        self.written.errback(RuntimeError("disk full"))
        await self.assertFailure(self.made, RuntimeError)
        self.assertEqual(self.users(), [])
        self.assertFalse(self.rig.containers.registry.taken("box"))

    async def test_its_name_is_taken(self) -> None:
        await self.assertFailure(Deferred.fromCoroutine(self.rig.create(name="box")), Conflict)
        self.written.callback(None)
        await self.made


class RemovedTests(RigCase):
    """One that is removed while somebody works with it."""

    async def setUp(self) -> None:
        await super().setUp()
        self.ledger = self.rig.containers.ledger
        await self.rig.create("true", name="box")
        self.container = self.rig.containers.registry.get("box")

    def fail(self) -> None:
        with self.ledger.telling_removal(self.container):
            raise FileNotFoundError("/a/path/of/the/host")

    async def test_what_fails_says_that_it_is_gone(self) -> None:
        self.assertRaises(FileNotFoundError, self.fail)
        self.container.removing = True
        error = self.assertRaises(Conflict, self.fail)
        self.assertIn("is marked for removal", error.message)
        self.container.removing = False
        await self.rig.job("ContainerDelete", "box")
        error = self.assertRaises(NotFound, self.fail)
        self.assertEqual(error.message, f"No such container: {self.container.id}")

    async def test_what_succeeds_all_the_same_is_told(self) -> None:
        with self.ledger.telling_removal(self.container):
            await self.rig.job("ContainerDelete", "box")
        self.assertNotIn(self.container, self.ledger)
