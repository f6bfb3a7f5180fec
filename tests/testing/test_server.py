"""The server that other people's tests may use, as they would use it: with docker-py."""

from __future__ import annotations

import os

import docker
from docker.errors import APIError, NotFound
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from dockerapi.engine import errors
from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Handler
from dockerapi.engine.job import Job
from dockerapi.testing import APIServer


async def list_one(job: Job) -> Answer:
    return [{"Id": "ab" * 32, "Names": ["/web"], "State": "running"}]


async def inspect(job: Job) -> Answer:
    raise errors.NotFound(f"No such container: {job.args[0]}")


class APIServerTests(TestCase):
    async def client(self, **handlers: Handler) -> tuple[APIServer, docker.APIClient]:
        # The path of a unix socket has at most 107 bytes.
        server = APIServer(f"/tmp/dockerapi-testing-{os.getpid()}", handlers)
        await server.start()
        self.addCleanup(server.stop)
        client = docker.APIClient(server.url, version="1.41")
        self.addCleanup(client.close)
        return server, client

    async def test_a_client_gets_what_the_handlers_answer(self) -> None:
        server, client = await self.client(ContainerList=list_one, ContainerInspect=inspect)
        (container,) = await deferToThread(client.containers)
        self.assertEqual(container["Names"], ["/web"])
        with self.assertRaises(NotFound):
            await deferToThread(client.inspect_container, "nope")
        self.assertEqual(server.jobs, ["ContainerList", "ContainerInspect"])

    async def test_what_has_no_handler_is_501(self) -> None:
        _, client = await self.client()
        with self.assertRaises(APIError) as caught:
            await deferToThread(client.info)
        self.assertEqual(caught.exception.status_code, 501)
        self.assertTrue(await deferToThread(client.ping))

    async def test_nothing_is_left(self) -> None:
        server, _ = await self.client()
        await server.stop()
        self.assertFalse(os.path.exists(server.path))
