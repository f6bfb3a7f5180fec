"""Archives of real containers, through the engine's jobs."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from dockerapi.engine.errors import Cancelled, EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.archive import roots
from tests.local.archive.support import Collected, archive
from tests.local.containers.support import RigCase
from tests.local.leaving import descriptors, leave


class ArchiveTests(RigCase):
    """Containers that run, stand still, and do not run."""

    async def setUp(self) -> None:
        await super().setUp()
        self.addCleanup(self.check_mounts)

    async def check_mounts(self) -> None:
        base = self.rig.base
        await self.rig.close()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        self.assertEqual([line for line in mounts if str(base) in line], [])

    async def start(self, *command: str, **more: Any) -> str:
        identity = (await self.rig.create(*(command or ("sleep", "60")), **more))["Id"]
        await self.rig.job("ContainerStart", identity)
        return str(identity)

    async def start_after(self, script: str, made: str, **more: Any) -> str:
        """Start a container and return when its script has made a file; it runs on."""
        identity = await self.start("sh", "-c", f"{script}; sleep 60", **more)
        path = self.rig.layout.container(identity) / "upper" / made
        while not os.path.lexists(path):
            await deferLater(reactor, 0.02)
        return identity

    async def unmounted(self, identity: str) -> None:
        """Return when the root of a container is no longer mounted."""
        while self.is_mounted(identity):
            await deferLater(reactor, 0.02)

    async def put(self, name: str, path: str, *members: tuple[str, dict[str, Any]]) -> None:
        await self.rig.job(
            "PutContainerArchive", name, body=archive(*members), query=f"path={path}"
        )

    async def get(self, name: str, path: str) -> list[str]:
        answer = await self.rig.job("ContainerArchive", name, query=f"path={path}")
        sink = Collected()
        await answer.serve(sink)
        return [member.name for member in sink.members()]

    async def refused(self, kind: type[EngineError], awaitable: Any) -> str:
        try:
            await awaitable
        except kind as error:
            return error.message
        raise self.failureException(f"{kind.__name__} was not raised")

    def is_mounted(self, identity: str) -> bool:
        return os.path.ismount(self.rig.layout.container(identity) / "merged")

    async def test_running_with_its_mounts(self) -> None:
        source = self.rig.base / "source"
        source.mkdir()
        host = {"Binds": [f"{source}:/bound"], "Tmpfs": {"/tmpfs": ""}}
        identity = await self.start(host=host, name="running")
        for path in ("/bound", "/tmpfs", "/tmp"):
            await self.put("running", path, ("f", {"data": b"x"}))
            self.assertEqual(await self.get("running", f"{path}/f"), ["f"])
        self.assertEqual((source / "f").read_bytes(), b"x")
        names = await self.get("running", "/")
        self.assertLessEqual({"/bound/f", "/tmpfs/f", "/tmp/f", "/proc", "/dev"}, set(names))
        self.assertNotIn("/proc/version", names)
        self.assertIn("archive-path", self.rig.actions())
        self.assertIn("extract-to-dir", self.rig.actions())
        self.assertTrue(self.is_mounted(identity))

    async def test_not_running(self) -> None:
        source = self.rig.base / "source"
        source.mkdir()
        host = {"Binds": [f"{source}:/deep/bound"]}
        identity = (await self.rig.create("true", host=host, name="created"))["Id"]
        await self.put("created", "/deep/bound", ("f", {"data": b"x"}))
        await self.put("created", "/tmp", ("g", {"data": b"x"}))
        self.assertEqual((source / "f").read_bytes(), b"x")
        self.assertEqual(await self.get("created", "/deep"), ["deep", "deep/bound", "deep/bound/f"])
        await self.unmounted(identity)
        await self.rig.job("ContainerStart", identity)
        upper = self.rig.layout.container(identity) / "upper"
        self.assertTrue((upper / "tmp" / "g").exists())

    async def test_not_running_with_a_file_mounted(self) -> None:
        """As Compose does with secrets beside its configs: the file has no place yet."""
        source = self.rig.base / "secret"
        source.write_text("s")
        host = {"Binds": [f"{source}:/run/secrets/file:ro"]}
        await self.rig.create("true", host=host, name="created")
        await self.put("created", "/", ("config", {"data": b"x"}))
        self.assertEqual(await self.get("created", "/config"), ["config"])
        self.assertEqual(await self.get("created", "/run/secrets"), ["secrets", "secrets/file"])

    async def test_ended_while_it_is_read(self) -> None:
        identity = await self.start_after("echo x > /f", "f")
        answer = await self.rig.job("ContainerExport", identity)
        await self.rig.job("ContainerKill", identity)
        sink = Collected()
        await answer.serve(sink)
        self.assertIn("f", [member.name for member in sink.members()])
        await self.unmounted(identity)

    async def test_stat(self) -> None:
        await self.start_after("ln -s /bin/../etc /link", "link", name="running")
        answer = await self.rig.job("ContainerArchiveInfo", "running", query="path=/link")
        ((name, value),) = answer.headers
        self.assertEqual(name, b"X-Docker-Container-Path-Stat")
        found = json.loads(base64.b64decode(value))
        self.assertEqual((found["name"], found["linkTarget"]), ("link", "/etc"))
        self.assertEqual(found["mode"], 1 << 27 | 0o777)

    async def test_refusals(self) -> None:
        source = self.rig.base / "source"
        source.mkdir()
        host = {"Binds": [f"{source}:/ro:ro", f"{source}:/rw"], "ReadonlyRootfs": True}
        await self.start(host=host, name="running")
        missing = self.rig.job("ContainerArchive", "running", query="path=/no")
        message = await self.refused(NotFound, missing)
        self.assertEqual(message, "Could not find the file /no in container running")
        message = await self.refused(InvalidParameter, self.rig.job("ContainerArchive", "running"))
        self.assertEqual(message, "bad parameter: path cannot be empty")
        wanted = {
            "/": "container rootfs is marked read-only",
            "/ro": "mounted volume is marked read-only",
            "/etc/passwd": "extraction point is not a directory",
        }
        for path, text in wanted.items():
            putting = self.put("running", path, ("f", {"data": b"x"}))
            self.assertEqual(await self.refused(InvalidParameter, putting), text)
        await self.put("running", "/rw", ("f", {"data": b"x"}))

    async def test_a_container_cannot_lead_out(self) -> None:
        secret = self.rig.base / "secret"
        secret.write_text("host")
        script = (
            f"ln -s {secret} /a; ln -s /proc/1/root /b; ln -s ../../../../{secret} /c; sleep 60"
        )
        await self.start("sh", "-c", script, name="hostile")
        await deferLater(reactor, 0.2)
        for path in ("/a/", "/c/.", f"/b{secret}"):
            getting = self.rig.job("ContainerArchive", "hostile", query=f"path={path}")
            await self.refused(EngineError, getting)
        await self.put("hostile", "/tmp", ("l", {"type": tarfile.SYMTYPE, "linkname": str(secret)}))
        await self.refused(EngineError, self.put("hostile", "/tmp/l", ("f", {"data": b"x"})))
        self.assertEqual(secret.read_text(), "host")

    async def test_own(self) -> None:
        await self.start(name="running", User="user")
        body = archive(("f", {"data": b"x"}))
        query = "path=/tmp&copyUIDGID=1"
        await self.rig.job("PutContainerArchive", "running", body=body, query=query)
        answer = await self.rig.job("ContainerArchive", "running", query="path=/tmp/f")
        sink = Collected()
        await answer.serve(sink)
        (member,) = sink.members()
        self.assertEqual((member.uid, member.gid), (1000, 100))

    async def test_a_copy_as_early_clients_ask_for_it(self) -> None:
        await self.rig.create("true", name="created")
        await self.put("created", "/tmp", ("f", {"data": b"x"}))
        for path, names in (("/tmp/f", ["f"]), ("tmp", ["tmp", "tmp/f"])):
            answer = await self.rig.job("ContainerCopy", "created", body={"Resource": path})
            sink = Collected()
            await answer.serve(sink)
            self.assertEqual([member.name for member in sink.members()], names)
        self.assertEqual(self.rig.actions()[-1], "copy")
        for body, kind, told in (
            ({"Resource": ""}, InvalidParameter, "Path cannot be empty"),
            ({"Resource": "/no"}, NotFound, "Could not find the file /no in container created"),
        ):
            copying = self.rig.job("ContainerCopy", "created", body=body)
            self.assertEqual(await self.refused(kind, copying), told)

    async def test_owners_stay_where_a_container_has_no_user(self) -> None:
        await self.rig.create("true", name="created")
        body = archive(("f", {"data": b"x", "uid": 2, "gid": 3}))
        query = "path=/tmp&copyUIDGID=1"
        await self.rig.job("PutContainerArchive", "created", body=body, query=query)
        answer = await self.rig.job("ContainerArchive", "created", query="path=/tmp/f")
        sink = Collected()
        await answer.serve(sink)
        (member,) = sink.members()
        self.assertEqual((member.uid, member.gid), (2, 3))

    async def test_the_working_directory_is_there_before_the_first_start(self) -> None:
        await self.rig.create("true", name="created", WorkingDir="/work/dir")
        self.assertEqual(await self.get("created", "/work"), ["work", "work/dir"])
        await self.put("created", "/work/dir", ("f", {"data": b"x"}))
        self.assertEqual(await self.get("created", "/work/dir"), ["dir", "dir/f"])

    async def test_a_working_directory_that_cannot_be(self) -> None:
        (self.rig.images.layer / "file").touch()
        await self.rig.create("true", name="created", WorkingDir="/file/dir")
        self.assertEqual(await self.get("created", "/file"), ["file"])

    async def test_frozen(self) -> None:
        await self.start(name="frozen")
        await self.rig.job("ContainerPause", "frozen")
        await self.put("frozen", "/tmp", ("f", {"data": b"x"}))
        self.assertEqual(await self.get("frozen", "/tmp/f"), ["f"])
        await self.rig.job("ContainerUnpause", "frozen")

    async def test_a_client_that_leaves(self) -> None:
        identity = await self.start("sh", "-c", "sleep 60")
        answer = await self.rig.job("ContainerExport", identity)
        serving = Deferred.fromCoroutine(answer.serve(_Stuck()))
        container = self.rig.containers.registry.get(identity)
        while not self.rig.containers.roots.in_use(container):
            await deferLater(reactor, 0.02)
        serving.cancel()
        await self.assertFailure(serving, CancelledError, Cancelled)
        while self.rig.containers.roots.in_use(container):
            await deferLater(reactor, 0.02)

    async def test_a_client_that_leaves_while_a_root_is_mounted(self) -> None:
        identity = (await self.rig.create("true"))["Id"]
        getting = partial(self.get, identity, "/etc/passwd")
        # Once before: what children are put into is opened for good.
        await getting()
        await self.unmounted(identity)
        # Making a container has begun a grace period, whose file closes by itself.
        while any(path.endswith("/cgroup.procs") for path in descriptors()):
            await deferLater(reactor, 0.01)
        before, number = descriptors(), 1
        while await leave(self, roots, number, getting):
            await self.unmounted(identity)
            self.assertEqual(descriptors(), before, number)
            number += 1
        self.assertGreater(number, 2)
        await self.unmounted(identity)

    async def test_changes_and_export(self) -> None:
        created = (await self.rig.create("true"))["Id"]
        self.assertIsNone(await self.rig.job("ContainerChanges", created))
        await self.start_after("echo x > /tmp/f", "tmp/f", name="running")
        answer = await self.rig.job("ContainerChanges", "running")
        sink = Collected()
        await answer.serve(sink)
        changes = [{"Path": "/tmp", "Kind": 0}, {"Path": "/tmp/f", "Kind": 1}]
        self.assertEqual(json.loads(sink.data), changes)
        answer = await self.rig.job("ContainerExport", "running")
        sink = Collected()
        await answer.serve(sink)
        with tarfile.open(fileobj=io.BytesIO(sink.data)) as tar:
            self.assertLessEqual({"bin/busybox", "tmp/f", "proc"}, set(tar.getnames()))


class _Stuck(Collected):
    async def write(self, data: bytes) -> None:
        await deferLater(reactor, 60)
