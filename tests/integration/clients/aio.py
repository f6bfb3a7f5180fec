"""aiodocker against the server that DOCKER_HOST names, unmodified.

Rule: run as a program of its own (`test_clients` does): it has an asyncio loop, not Twisted's.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
import unittest
from typing import Any

from aiodocker import Docker, DockerContainerError, DockerError
from aiodocker.containers import DockerContainer
from aiodocker.stream import Stream

IMAGE = "busybox:latest"


def archive(name: str, text: bytes) -> bytes:
    """Return a tar archive of one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        made.addfile(member, io.BytesIO(text))
    return file.getvalue()


async def read_all(stream: Stream, number: int = 1) -> bytes:
    """Return all that comes of one stream of an attached container or exec."""
    found = b""
    while (message := await stream.read_out()) is not None:
        if message.stream == number:
            found += message.data
    return found


class AioCase(unittest.IsolatedAsyncioTestCase):
    """Each test has a client, and no container is left by the one before."""

    async def asyncSetUp(self) -> None:
        self.docker = Docker()
        self.addAsyncCleanup(self.docker.close)
        self.addAsyncCleanup(self.remove_containers)

    async def remove_containers(self) -> None:
        for container in await self.docker.containers.list(all=True):
            await container.delete(force=True, v=True)

    async def run_container(self, *command: str, **config: Any) -> DockerContainer:
        config = {"Image": IMAGE, "Cmd": list(command), **config}
        # Nothing here needs a network, and none is the quickest to set up.
        config.setdefault("HostConfig", {"NetworkMode": "none"})
        return await self.docker.containers.run(config)


class ContainerTests(AioCase):
    async def test_create_or_replace(self) -> None:
        create = self.docker.containers.create_or_replace
        config: dict[str, Any] = {"Image": IMAGE, "Cmd": ["sleep", "600"], "StopTimeout": 0}
        first = await create("kept", config)
        await first.start()
        # aiodocker replaces whatever has further members in its inspection, as all have.
        second = await create("kept", {**config, "Cmd": ["sh", "-c", "echo other"]})
        self.assertNotEqual(second.id, first.id)
        await second.start()
        self.assertEqual(await second.wait(), {"StatusCode": 0})
        self.assertEqual(await second.log(stdout=True), ["other\n"])
        with self.assertRaises(DockerError) as refused:
            await self.docker.containers.get(first.id)
        self.assertEqual(refused.exception.status, 404)

    async def test_listing_and_inspecting(self) -> None:
        container = await self.run_container("sleep", "600", Labels={"a": "b"})
        filters = '{"label": ["a=b"]}'
        (found,) = await self.docker.containers.list(filters=filters)
        self.assertEqual((found.id, found["State"]), (container.id, "running"))
        self.assertEqual(found["Labels"], {"a": "b"})
        await container.rename("renamed")
        shown = await container.show(size=True)
        self.assertEqual((shown["Name"], shown["SizeRw"]), ("/renamed", 0))
        self.assertEqual(await container.port(80), None)

    async def test_a_start_that_fails_names_its_container(self) -> None:
        with self.assertRaises(DockerContainerError) as failed:
            await self.run_container("nosuchcommand")
        self.assertEqual(failed.exception.status, 400)
        self.assertIn("executable file not found", failed.exception.message)
        await self.docker.containers.container(failed.exception.container_id).delete()

    async def test_its_life(self) -> None:
        container = await self.run_container("sleep", "600")
        await container.pause()
        self.assertTrue((await container.show())["State"]["Paused"])
        await container.unpause()
        started = (await container.show())["State"]["StartedAt"]
        await container.restart(t=0)
        state = (await container.show())["State"]
        self.assertTrue(state["Running"])
        self.assertGreater(state["StartedAt"], started)
        with self.assertRaises(asyncio.TimeoutError):
            async with asyncio.timeout(0.2):
                await container.wait()
        await container.kill(signal="KILL")
        self.assertEqual((await container.wait())["StatusCode"], 137)
        await container.start()
        await container.stop(t=0)
        await container.delete()
        self.assertEqual(await self.docker.containers.list(all=True), [])

    async def test_published_ports(self) -> None:
        config = {"PublishAllPorts": True}
        container = await self.run_container(
            "sleep", "600", ExposedPorts={"5678/tcp": {}}, HostConfig=config
        )
        published = await container.port(5678)
        assert published is not None
        self.assertTrue(all(int(port["HostPort"]) > 1024 for port in published))
        self.assertIn("0.0.0.0", [port["HostIp"] for port in published])

    async def test_archives(self) -> None:
        create = self.docker.containers.create
        container = await create({"Image": IMAGE, "Cmd": ["cat", "tmp/foo.txt"]})
        await container.put_archive("tmp", archive("foo.txt", b"some text\n"))
        await container.start()
        await container.wait()
        self.assertEqual(await container.log(stdout=True, stderr=True), ["some text\n"])
        with await container.get_archive("tmp/foo.txt") as got:
            file = got.extractfile("foo.txt")
            assert file is not None
            self.assertEqual(file.read(), b"some text\n")

    async def test_commit_and_prune(self) -> None:
        container = await self.run_container("sh", "-c", "echo hi > /made")
        await container.wait()
        made = await container.commit(repository="made", tag="one", changes=["EXPOSE 8000"])
        image = await self.docker.images.inspect("made:one")
        self.assertEqual((image["Id"], image["RepoTags"]), (made["Id"], ["made:one"]))
        self.assertEqual(image["Config"]["ExposedPorts"], {"8000/tcp": {}})
        pruned = await self.docker.containers.prune()
        self.assertEqual(pruned["ContainersDeleted"], [container.id])
        await self.docker.images.delete("made:one")


class StreamTests(AioCase):
    SCRIPT = "echo out; sleep 0.2; echo err >&2; sleep 0.2; echo end"

    async def test_logs_at_once_and_followed(self) -> None:
        container = await self.run_container("sh", "-c", self.SCRIPT)
        lines = [line async for line in container.log(stdout=True, stderr=True, follow=True)]
        self.assertEqual(lines, ["out\n", "err\n", "end\n"])
        self.assertEqual(await container.log(stdout=True), ["out\n", "end\n"])
        self.assertEqual(await container.log(stderr=True), ["err\n"])
        self.assertEqual(await container.log(stdout=True, tail=1), ["end\n"])
        with self.assertRaises(DockerError) as refused:
            await self.docker.containers.container("nosuch").log(stdout=True)
        self.assertEqual(refused.exception.status, 404)

    async def test_logs_by_subscription(self) -> None:
        container = await self.run_container("sh", "-c", "echo one; echo two", Tty=True)
        subscriber = container.logs.subscribe()
        reading = asyncio.ensure_future(container.logs.run())
        lines = [await subscriber.get() for _ in range(3)]
        self.assertEqual(lines, [b"one\r\n", b"two\r\n", None])
        await reading

    async def test_attach_reads_and_writes(self) -> None:
        config = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}
        container = await self.docker.containers.create(
            {
                "Image": IMAGE,
                "Cmd": ["sh", "-c", "read line; echo got $line; echo err >&2"],
                **config,
            }
        )
        async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
            await container.start()
            await stream.write_in(b"text\n")
            found = {1: b"", 2: b""}
            while (message := await stream.read_out()) is not None:
                found[message.stream] += message.data
        self.assertEqual(found, {1: b"got text\n", 2: b"err\n"})

    async def test_attach_to_a_terminal(self) -> None:
        container = await self.run_container("sh", Tty=True, OpenStdin=True)
        async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
            await container.resize(w=91, h=25)
            await stream.write_in(b"stty size; exit\n")
            self.assertIn(b"25 91\r\n", await read_all(stream))

    async def test_attach_by_websocket(self) -> None:
        container = await self.run_container("cat", OpenStdin=True)
        socket = await container.websocket(stdin=True, stdout=True, stream=True)
        await socket.send_str("hello\n")
        async with asyncio.timeout(10):
            self.assertEqual(await socket.receive_bytes(), b"hello\n")
        await socket.close()

    async def test_exec_attached(self) -> None:
        container = await self.run_container("sleep", "600")
        script = "echo $A; pwd; id -u; echo err >&2; exit 4"
        execution = await container.exec(
            ["sh", "-c", script], environment={"A": "b"}, workdir="/tmp", user="7"
        )
        self.assertIsNone((await execution.inspect())["ExitCode"])
        async with execution.start() as stream:
            self.assertEqual(await read_all(stream), b"b\n/tmp\n7\n")
        self.assertEqual((await execution.inspect())["ExitCode"], 4)
        execution = await container.exec("cat", stdin=True)
        async with execution.start(detach=False) as stream:
            await stream.write_in(b"back\n")
            self.assertEqual(await stream.read_out(), (1, b"back\n"))

    async def test_exec_in_a_terminal(self) -> None:
        container = await self.run_container("sleep", "600")
        execution = await container.exec("sh", stdin=True, tty=True)
        # By its id alone aiodocker has to ask whether it has a terminal.
        execution = self.docker.containers.exec(execution.id)
        async with execution.start() as stream:
            await execution.resize(w=92, h=26)
            await stream.write_in(b"stty size; exit 3\n")
            self.assertIn(b"26 92\r\n", await read_all(stream))
        self.assertEqual((await execution.inspect())["ExitCode"], 3)

    async def test_exec_detached(self) -> None:
        container = await self.run_container("sleep", "600")
        for tty in (False, True):
            execution = await container.exec(["sh", "-c", "echo hi; exit 5"], tty=tty)
            self.assertEqual(await execution.start(detach=True), b"")
            async with asyncio.timeout(10):
                while (told := await execution.inspect())["ExitCode"] is None:
                    await asyncio.sleep(0.02)
            self.assertEqual((told["ExitCode"], told["Running"]), (5, False))

    async def test_stats(self) -> None:
        container = await self.run_container("sleep", "600")
        (once,) = await container.stats(stream=False)
        self.assertEqual((once["id"], once["pids_stats"]["current"]), (container.id, 1))
        told = container.stats()
        read = [(await anext(told))["read"] for _ in range(2)]
        await told.aclose()  # type: ignore[attr-defined]
        self.assertLess(read[0], read[1])

    async def test_events_drive_a_container(self) -> None:
        subscriber = self.docker.events.subscribe()
        async with asyncio.timeout(10):
            while self.docker.events.json_stream is None:
                await asyncio.sleep(0.01)
        container = await self.run_container("sleep", "600", StopSignal="SIGKILL")
        seen = []
        async with asyncio.timeout(20):
            while (event := await subscriber.get()) is not None:
                if event["Actor"]["ID"] != container.id:
                    continue
                seen.append(event["Action"])
                if event["Action"] == "start":
                    await container.stop()
                elif event["Action"] == "stop":
                    await container.delete()
                elif event["Action"] == "destroy":
                    break
        self.assertEqual(seen, ["create", "start", "kill", "die", "stop", "destroy"])
        self.assertEqual(type(event["time"]).__name__, "datetime")
        await self.docker.events.stop()


class OtherTests(AioCase):
    async def test_images(self) -> None:
        images = self.docker.images
        (one,) = await images.list(filters={"reference": ["busybox"]})
        image = await images.inspect(IMAGE)
        self.assertEqual((image["Id"], one["RepoTags"]), (one["Id"], [IMAGE]))
        self.assertEqual(len(await images.history(IMAGE)), 1)
        self.assertTrue(await images.tag(IMAGE, "local/box", tag="two"))
        self.assertEqual((await images.inspect("local/box:two"))["Id"], image["Id"])
        self.assertEqual(await images.delete("local/box:two"), [{"Untagged": "local/box:two"}])
        with self.assertRaises(DockerError) as refused:
            await images.inspect("nosuch")
        self.assertEqual(refused.exception.status, 404)
        self.assertEqual((await images.prune())["ImagesDeleted"] or [], [])

    async def test_an_image_exported_and_imported(self) -> None:
        images = self.docker.images
        image = await images.inspect(IMAGE)
        await images.tag(IMAGE, "local/moved")
        async with images.export_image("local/moved") as content:
            saved = await content.read()
        await images.delete("local/moved")
        told = [part async for part in images.import_image(io.BytesIO(saved), stream=True)]
        self.assertIn("Loaded image: local/moved:latest\n", [part.get("stream") for part in told])
        self.assertEqual((await images.inspect("local/moved"))["Id"], image["Id"])
        await images.delete("local/moved")

    async def test_volumes(self) -> None:
        volumes = self.docker.volumes
        made = await volumes.create({"Name": "data", "Labels": {"a": "b"}, "Driver": "local"})
        self.assertEqual((await made.show())["Labels"], {"a": "b"})
        listed = await volumes.list(filters={"label": "a=b"})
        self.assertEqual([volume["Name"] for volume in listed["Volumes"]], ["data"])
        config = {"NetworkMode": "none", "Binds": ["data:/d"]}
        container = await self.run_container("touch", "/d/file", HostConfig=config)
        await container.wait()
        with self.assertRaises(DockerError) as refused:
            await (await volumes.get("data")).delete()
        self.assertEqual(refused.exception.status, 409)
        await container.delete()
        await made.delete()
        await volumes.create({"Name": "more"})
        pruned = await volumes.prune(filters={"all": ["true"]})
        self.assertEqual(pruned["VolumesDeleted"], ["more"])

    async def test_system_and_networks(self) -> None:
        info = await self.docker.system.info()
        self.assertEqual((info["Containers"], info["OSType"]), (0, "linux"))
        version = await self.docker.version()
        self.assertEqual(self.docker.api_version, f"v{version['ApiVersion']}")
        names = [network["Name"] for network in await self.docker.networks.list()]
        self.assertEqual(sorted(names), ["bridge", "host", "none"])
        bridge = await self.docker.networks.get("bridge")
        self.assertEqual((await bridge.show())["Driver"], "bridge")


if __name__ == "__main__":
    unittest.main()
