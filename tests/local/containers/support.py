"""The containers service with real runtime, conmon, overlay and networks, on a root of busybox."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from dockerapi.engine.answers import Encoded, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import NotFound
from dockerapi.engine.job import Job
from dockerapi.local.containers.foundation import Foundation
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.service import Containers, ContainerSettings
from dockerapi.local.journal import Journal
from dockerapi.local.layout import Layout
from dockerapi.local.networks.bridge import NetworkSettings
from dockerapi.local.networks.service import Networks
from dockerapi.local.networks.subnets import AddressPool
from dockerapi.local.store import Store
from dockerapi.local.volumes.service import Volumes
from dockerapi.model.envelope import Envelope
from dockerapi.model.platforms import Platform
from dockerapi.model.versions import NEWEST, Version
from dockerapi.server.limits import raise_descriptor_limit
from tests import streams
from tests.strays import end_strays
from tests.streams import Bytes

APPLETS = (
    "sh",
    "cat",
    "dd",
    "wc",
    "echo",
    "env",
    "false",
    "hostname",
    "id",
    "ls",
    "mkdir",
    "mount",
    "sleep",
    "true",
)

#: Small networks, apart from those that servers take: many engines may be there at once.
_POOLS = (AddressPool(IPv4Network("10.187.0.0/16"), 24),)


#: Makes the observers of an engine's containers.
MakeObservers = Callable[[Engine, Foundation], Sequence[Observer]]


class Collected(streams.Collected):
    """A sink that keeps what is written, and may be broken off."""

    def abort(self, reason: str) -> None:
        """Do nothing."""


class BusyboxImage:
    """An image of busybox alone."""

    id = "sha256:" + "1" * 64

    def __init__(self) -> None:
        self.config: dict[str, Any] = {
            "config": {
                "Env": ["PATH=/bin", "FROM=image"],
                "Cmd": ["sh"],
                "Labels": {"from": "image"},
            }
        }

    def check_platform(self, wanted: Platform | None, reference: str) -> None:
        """Be for any platform."""


class OneImage:
    """Images of which there is one, called busybox."""

    def __init__(self, layer: Path) -> None:
        self.image = BusyboxImage()
        self.layer = layer
        self.generation = 0

    def means(self, reference: str, identity: str) -> bool:
        return reference in ("busybox", identity) and identity == self.image.id

    def made_of(self, reference: str) -> set[str]:
        return {self.image.id} if reference in ("busybox", "busybox:latest") else set()

    async def resolve(self, reference: str) -> BusyboxImage:
        if reference not in ("busybox", self.image.id):
            raise NotFound(f"No such image: {reference}:latest")
        return self.image

    def size_of(self, identity: str) -> int:
        return 0

    def layer_paths(self, image: Any) -> Sequence[Path]:
        return [self.layer]


def make_root(path: Path) -> None:
    """Make a root file system of a static busybox, with users."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SkipTest("busybox (static) is not installed")
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        (path / name).mkdir(parents=True)
    shutil.copy(busybox, path / "bin" / "busybox")
    for name in APPLETS:
        (path / "bin" / name).symlink_to("busybox")
    (path / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:100:A:/home/user:/bin/sh\n"
    )
    (path / "etc" / "group").write_text("root:x:0:\nusers:x:100:\nextra:x:200:user\n")


class Rig:
    """One engine with containers, on directories of its own."""

    def __init__(
        self,
        runtime: str = "",
        runtimes: Mapping[str, str] | None = None,
        observers: MakeObservers = lambda _engine, _foundation: (),
    ) -> None:
        for program in ("conmon", "runc"):
            if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
                raise SkipTest(f"{program} is not installed")
        if os.geteuid() != 0:
            raise SkipTest("containers need root")
        # As the server does: a login's 1,024 are too few for hundreds of streams.
        raise_descriptor_limit()
        self.base = Path(tempfile.mkdtemp(prefix="dockerapi-containers-"))
        self.layout = Layout(self.base / "data", self.base / "run")
        self.images = OneImage(self.base / "layer")
        make_root(self.images.layer)
        self.runtime = runtime
        self.runtimes = runtimes or {}
        self._observers = observers
        self.bridge = f"dct{secrets.token_hex(4)}"
        self._stops: list[Callable[[], Awaitable[None]]] = []
        self._started = False

    async def start(self) -> None:
        """Start the engine; again after `stop`, as a new server would."""
        self.layout.make()
        self.store = Store.open(self.layout.database)
        self._stops.append(self.store.close)
        self.engine = Engine(logging=False)
        self.journal = Journal(self.store, self.engine.events, 1000, reactor)
        self._stops.append(self.journal.stop)
        await self.journal.start()
        settings = NetworkSettings(bridge=self.bridge, pools=_POOLS)
        self.networks = Networks(self.store, self.layout, self.engine, settings, reactor)
        self._stops.append(self.networks.stop)
        await self.networks.start()
        self.volumes = Volumes(self.store, self.journal, self.layout, self.engine)
        self.volumes.register(self.engine)
        self._stops.append(self.volumes.stop)
        await self.volumes.start()
        self.foundation = Foundation(
            Registry(), self.images, self.layout, self.journal, self.engine.events
        )
        self.containers = Containers(
            self.foundation,
            self.store,
            self.networks,
            self.volumes,
            ContainerSettings(default_runtime=self.runtime, runtimes=self.runtimes),
            reactor,
            self._observers(self.engine, self.foundation),
        )
        self.containers.register(self.engine)
        self._stops.append(self.containers.stop)
        await self.containers.start()
        if self.containers.problems:
            raise SkipTest(self.containers.problems[0])
        self.engine.activation.activate()
        self._started = True

    async def stop(self) -> None:
        """Stop what of the engine was started; containers run on."""
        self._started = False
        while self._stops:
            await self._stops.pop()()

    async def close(self) -> None:
        """Remove every container and stop; nothing is left behind, whatever fails."""
        if not self.base.exists():
            return
        try:
            if self._started:
                for container in self.containers.registry:
                    await self.job("ContainerDelete", container.id, query="force=1")
            await self.stop()
        finally:
            end_strays(self.base)
            for command in (("ip", "link", "delete"), ("nft", "delete", "table", "ip")):
                subprocess.run((*command, self.bridge), capture_output=True, check=False)
            shutil.rmtree(self.base)

    def make_job(
        self,
        name: str,
        *args: str,
        body: Any = None,
        query: str = "",
        version: Version = NEWEST,
    ) -> Job:
        data = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        envelope = Envelope("POST", "/", query, (), Bytes(data), len(data))
        return self.engine.job(name, *args, envelope=envelope, version=version)

    async def job(self, name: str, *args: str, **more: Any) -> Any:
        """Run a job and return its answer; what is encoded already, decoded."""
        answer = await self.make_job(name, *args, **more).run()
        return json.loads(answer.body) if isinstance(answer, Encoded) else answer

    async def create(self, *command: str, name: str = "", host: Any = None, **config: Any) -> Any:
        body = {
            "Image": "busybox",
            "Cmd": list(command),
            "HostConfig": {"NetworkMode": "none", **(host or {})},
            **config,
        }
        return await self.job("ContainerCreate", body=body, query=f"name={name}")

    async def wait(self, name: str, condition: str = "not-running") -> Deferred[dict[str, Any]]:
        """Return a Deferred that fires with the answer of ContainerWait."""
        answer = await self.job("ContainerWait", name, query=f"condition={condition}")

        async def served() -> dict[str, Any]:
            sink = Collected()
            if isinstance(answer, Stream):
                await answer.serve(sink)
                return dict(json.loads(sink.data))
            return dict(json.loads(answer.body))

        return Deferred.fromCoroutine(served())

    async def run(self, *command: str, name: str = "", host: Any = None, **config: Any) -> str:
        """Run a command to its end and return its output."""
        identity = (await self.create(*command, name=name, host=host, **config))["Id"]
        waiting = await self.wait(identity, "next-exit")
        await self.job("ContainerStart", identity)
        self.status = (await waiting)["StatusCode"]
        lines = (self.layout.container(identity) / "container.log").read_bytes().splitlines()
        await self.job("ContainerDelete", identity)
        return b"".join(line.split(b" ", 3)[3] + b"\n" for line in lines).decode()

    def actions(self) -> list[str]:
        """Return the actions of all events of containers so far."""
        return [one.action for one in self.engine.events.recent if one.type == "container"]


class RigCase(TestCase):
    """Tests of one engine with containers, which is `rig`, with the runtime `runtime`.

    `observers` makes what is told of their starts and ends, at each start of the engine.
    """

    timeout = 120
    runtime = ""

    async def setUp(self) -> None:
        self.rig = Rig(self.runtime, observers=self.observers)
        self.addCleanup(self.rig.close)
        await self.rig.start()

    def observers(self, engine: Engine, foundation: Foundation) -> Sequence[Observer]:
        return ()
