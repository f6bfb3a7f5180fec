"""Requests that would exhaust the server, or mean one thing to it and another to the kernel."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter
from dockerapi.local.containers.execs import operations as execs_module
from dockerapi.local.containers.logs.options import attributes
from tests.local.containers.streams.support import StreamsCase
from tests.local.containers.support import RigCase


class HostileRequestTests(RigCase):
    async def refused(self, kind: type[EngineError], awaitable: Any) -> str:
        try:
            await awaitable
        except kind as error:
            return error.message
        raise self.failureException(f"{kind.__name__} was not raised")

    async def test_zero_bytes(self) -> None:
        hostile: tuple[dict[str, Any], ...] = (
            {"WorkingDir": "/w\0x"},
            {"User": "root\0"},
            {"Hostname": "a\0b"},
            {"Entrypoint": ["/bin/true\0"]},
            {"Env": ["A=b\0"]},
            {"Volumes": {"/v\0": {}}},
            {"host": {"Devices": [{"PathOnHost": "/dev/null\0", "PathInContainer": "/dev/x"}]}},
            {"host": {"MaskedPaths": ["/proc/kcore\0"]}},
            {"host": {"Tmpfs": {"/t\0": ""}}},
            {"host": {"Sysctls": {"net.core.somaxconn\0": "1"}}},
        )
        for config in hostile:
            said = await self.refused(InvalidParameter, self.rig.create("true", **config))
            self.assertIn("zero byte", said, config)
        # What only looks like one is text as any other.
        output = await self.rig.run("echo", "a\\u0000b")
        self.assertEqual(output, "a\\u0000b\n")

    async def test_expressions_that_never_end(self) -> None:
        label = "a" * 40 + "!"
        for expression in ("(a+)+$", "(a|a)*$", "a*a*a*a*a*a*b", "((a)*)*b", "(", "\\1" * 300):
            config = {"labels-regex": expression}
            identity = (
                await self.rig.create(
                    "true", Labels={label: "x"}, host={"LogConfig": {"Config": config}}
                )
            )["Id"]
            begin = time.monotonic()
            self.assertRaises(EngineError, attributes, self.rig.containers.registry.get(identity))
            self.assertLess(time.monotonic() - begin, 20)

    async def test_many_of_everything(self) -> None:
        begin = time.monotonic()
        host = {
            "Binds": [f"/tmp:/m{number}" for number in range(5000)],
            "PortBindings": {"80/tcp": [{"HostPort": "1-65535"}] * 500},
        }
        await self.rig.create(
            "true",
            Labels={f"l{number}": "v" for number in range(20_000)},
            Env=[f"A{number}=v" for number in range(20_000)],
            ExposedPorts={f"{number}/tcp": {} for number in range(1, 20_000)},
            host=host,
        )
        self.assertLess(time.monotonic() - begin, 60)

    async def test_deep_json(self) -> None:
        for body in (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"X":' + b"[" * 1_000_000):
            await self.refused(EngineError, self.rig.job("ContainerCreate", body=body))


class HostileExecTests(StreamsCase):
    """Execs in a container that was prepared against them."""

    async def start_container(self) -> Any:
        links = "; ".join(f"ln -s /proc/self/fd/{n} /l{n}" for n in range(3, 12))
        script = (
            f"{links}; ln -s /proc/self /self; ln -s /proc/1/root /out; ln -s proc /p; sleep 1000"
        )
        await self.rig.create("sh", "-c", script, name="hostile")
        await self.rig.job("ContainerStart", "hostile")
        container = self.rig.containers.registry.get("hostile")
        upper = self.rig.layout.container(container.id) / "upper"
        while not Path(upper, "out").is_symlink():
            await self.settle()
        return container

    async def settle(self) -> None:
        from twisted.internet.task import deferLater

        await deferLater(reactor, 0.02)

    async def make(self, **config: Any) -> str:
        answer = await self.rig.job("ContainerExec", "hostile", body={"Cmd": ["pwd"], **config})
        return str(answer["Id"])

    async def test_workdirs(self) -> None:
        await self.start_container()
        for workdir in (
            "/proc/self/fd/5",
            "/l3",
            "/l7",
            "/bin/../l8",
            "/self/fd/7",
            "/out",
            "/p/1",
        ):
            exec_id = await self.make(WorkingDir=workdir)
            try:
                await self.rig.job("ExecStart", exec_id, body={"Detach": True})
            except EngineError as error:
                self.assertIn("it is below /proc", error.message)
            else:
                raise self.failureException(f"{workdir} was entered")
        for workdir in ("/bin", "/proc", "/p", "/bin/.."):
            exec_id = await self.make(WorkingDir=workdir, Cmd=["/bin/true"])
            await self.rig.job("ExecStart", exec_id, body={"Detach": True})

    async def test_a_passwd_that_is_a_pipe_by_now(self) -> None:
        container = await self.start_container()
        upper = self.rig.layout.container(container.id) / "upper"
        exec_id = await self.make(
            Cmd=["sh", "-c", "/bin/busybox rm /etc/passwd; /bin/busybox mknod /etc/passwd p"]
        )
        await self.rig.job("ExecStart", exec_id, body={"Detach": True})
        while not Path(upper, "etc/passwd").is_fifo():
            await self.settle()
        with self.assertRaises(InvalidParameter) as refused:
            await self.make(User="user")
        self.assertIn("not a regular file", refused.exception.message)

    async def test_zero_bytes(self) -> None:
        await self.start_container()
        for config in ({"Cmd": ["a\0b"]}, {"WorkingDir": "/\0"}, {"Env": ["A=\0"]}, {"User": "\0"}):
            with self.assertRaises(InvalidParameter):
                await self.make(**config)

    async def test_execs_that_nobody_starts(self) -> None:
        await self.start_container()
        self.patch(execs_module, "MOST", 20)
        for _ in range(20):
            await self.make()
        with self.assertRaises(Conflict):
            await self.make()
