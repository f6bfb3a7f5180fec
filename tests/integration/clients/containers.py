"""testcontainers-python against the server that DOCKER_HOST names: its core, and its compose.

Rule: unmodified, and set up by its own settings only, which it reads when it is imported; so this
is run as a program of its own (`test_clients` does). Without Ryuk, whose image nobody has here.
Networks of its own and images that it builds are not tried: the engine has neither.
"""

from __future__ import annotations

import re
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

import docker
from docker.errors import NotFound
from testcontainers.compose import DockerCompose
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer, ExecConfig
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.exceptions import ContainerStartException
from testcontainers.core.wait_strategies import (
    CompositeWaitStrategy,
    ContainerStatusWaitStrategy,
    ExecWaitStrategy,
    FileExistsWaitStrategy,
    HealthcheckWaitStrategy,
    HttpWaitStrategy,
    LogMessageWaitStrategy,
    PortWaitStrategy,
)
from testcontainers.core.waiting_utils import wait_for_logs

#: A web server of busybox; it begins to listen after a while, as servers do.
SERVER = "mkdir /www; echo served $WHAT > /www/index.html; sleep 0.5; httpd -f -p 80 -h /www"


def command(script: str) -> list[str]:
    """Return what runs a script."""
    return ["sh", "-c", script]


def fetch(container: DockerContainer, port: int) -> bytes:
    """Return what a container serves at one of its ports, by the way that testcontainers tells."""
    address = f"{container.get_container_host_ip()}:{container.get_exposed_port(port)}"
    with urllib.request.urlopen(f"http://{address}/", timeout=60) as answer:
        return bytes(answer.read())


class ClientCase(unittest.TestCase):
    """Each test leaves no container behind, as testcontainers promises."""

    def setUp(self) -> None:
        self.client = docker.from_env()
        self.addCleanup(self.client.close)
        self.addCleanup(self.nothing_is_left)

    def nothing_is_left(self) -> None:
        left = self.client.containers.list(all=True)
        for container in left:
            container.remove(force=True, v=True)
        self.assertEqual(left, [])


class ContainerTests(ClientCase):
    def test_ryuk_is_off(self) -> None:
        self.assertTrue(testcontainers_config.ryuk_disabled)

    def test_environment_name_and_options(self) -> None:
        container = (
            DockerContainer("busybox", env={"A": "1"})
            .with_env("B", "two words")
            .with_envs(C="3")
            .with_name("named")
            .with_command("sleep 600")
            .with_kwargs(
                mem_limit="64m", hostname="host", user="7", labels={"mine": "x"}, working_dir="/tmp"
            )
        )
        with container:
            wrapped = container.get_wrapped_container()
            self.assertEqual((wrapped.name, wrapped.labels["mine"]), ("named", "x"))
            self.assertEqual(wrapped.labels["org.testcontainers.lang"], "python")
            told = container.exec(command("echo $A $B $C; hostname; id -u; pwd"))
            self.assertEqual(told.output, b"1 two words 3\nhost\n7\n/tmp\n")
            info = container.get_container_info()
            assert info is not None
            assert info.HostConfig is not None
            self.assertEqual((info.Name, info.HostConfig.Memory), ("/named", 64 << 20))
        with self.assertRaises(NotFound):
            wrapped.reload()

    def test_exec(self) -> None:
        with DockerContainer("busybox").with_command("sleep 600") as container:
            self.assertEqual(tuple(container.exec("echo hi")), (0, b"hi\n"))
            self.assertEqual(tuple(container.exec(command("echo no >&2; exit 3"))), (3, b"no\n"))
            config = ExecConfig("sh -c 'id -u; pwd; echo $X'", "9", {"X": "y"}, "/etc", True)
            self.assertEqual(container.exec(config).output, b"9\n/etc\ny\n")

    def test_logs_and_status(self) -> None:
        container = DockerContainer("busybox", command="sh -c 'echo out; echo err >&2; exit 5'")
        with self.assertRaises(ContainerStartException):
            container.get_logs()
        with container:
            self.assertEqual(container.wait(), 5)
            self.assertEqual(container.get_logs(), (b"out\n", b"err\n"))
            container.reload()
            self.assertEqual(container.status, "exited")

    def test_mounts(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "given").write_text("given\n")
            container = (
                DockerContainer("busybox", volumes=[(directory, "/ro", "ro")])
                .with_volume_mapping("named", "/named", "rw")
                .with_tmpfs_mount("/ram", "size=1m")
                .with_command("sleep 600")
            )
            with container:
                self.assertEqual(container.exec("cat /ro/given").output, b"given\n")
                self.assertNotEqual(container.exec("touch /ro/new").exit_code, 0)
                self.assertEqual(container.exec("touch /named/new").exit_code, 0)
                size = container.exec(command("df -k /ram | tail -1")).output.split()[1]
                self.assertEqual(size, b"1024")
        self.client.volumes.get("named").remove()

    def test_copies(self) -> None:
        container = DockerContainer("busybox").with_command("sleep 600")
        container.with_copy_into_container(b"early\n", "/etc/early", mode=0o640)
        with tempfile.TemporaryDirectory() as directory, container:
            told = container.exec(command("cat /etc/early; stat -c %a /etc/early"))
            self.assertEqual(told.output, b"early\n640\n")
            source = Path(directory, "file")
            source.write_text("late\n")
            container.copy_into_container(source, "/late/file")
            self.assertEqual(container.exec("cat /late/file").output, b"late\n")
            container.copy_from_container("/late/file", Path(directory, "back"))
            self.assertEqual(Path(directory, "back").read_text(), "late\n")

    def test_ports(self) -> None:
        container = (
            DockerContainer("busybox", ports=[80])
            .with_bind_ports("81/tcp")
            .with_exposed_ports("82/udp")
            .with_command(command(SERVER))
            .with_env("WHAT", "ports")
            .waiting_for(PortWaitStrategy(80).with_startup_timeout(20))
        )
        with container:
            self.assertEqual(fetch(container, 80), b"served ports\n")
            self.assertNotEqual(container.get_exposed_port(81), container.get_exposed_port(80))
        client = DockerClient()
        self.addCleanup(client.client.close)
        self.assertEqual(client.host(), "127.0.0.1")

    def test_a_client_of_its_own(self) -> None:
        client = DockerClient()
        self.addCleanup(client.client.close)
        self.assertEqual(client.run("busybox", "echo hi", remove=True), b"hi\n")


class WaitTests(ClientCase):
    def waited(self, strategy: object, script: str, **options: object) -> DockerContainer:
        container = DockerContainer("busybox", **options).with_command(command(script))  # type: ignore[arg-type]
        container.waiting_for(strategy)  # type: ignore[arg-type]
        self.addCleanup(container.stop)
        return container.start()

    def test_a_log_message(self) -> None:
        script = "sleep 0.3; echo is ready; sleep 0.3; echo is ready >&2; sleep 600"
        pattern = re.compile("is re.dy")
        strategy = LogMessageWaitStrategy(pattern, predicate_streams_and=True)
        container = self.waited(strategy, script)
        self.assertEqual(container.get_logs(), (b"is ready\n", b"is ready\n"))
        self.assertLess(wait_for_logs(container, "is ready", timeout=60), 60)

    def test_a_message_that_never_comes(self) -> None:
        with self.assertRaises(RuntimeError) as refused:
            self.waited(LogMessageWaitStrategy("ready"), "echo broken; exit 3")
        self.assertIn("exit code: 3", str(refused.exception))
        strategy = LogMessageWaitStrategy("ready").with_startup_timeout(1)
        with self.assertRaises(TimeoutError):
            self.waited(strategy, "echo slow; sleep 600")

    def test_http(self) -> None:
        strategy = (
            HttpWaitStrategy(80, "/index.html")
            .for_response_predicate(lambda body: body == "served http\n")
            .with_startup_timeout(20)
        )
        container = self.waited(strategy, SERVER, ports=[80], env={"WHAT": "http"})
        self.assertEqual(fetch(container, 80), b"served http\n")
        HttpWaitStrategy(80, "/nosuch").for_status_code(404).wait_until_ready(container)

    def test_a_health_check(self) -> None:
        check = {
            "test": ["CMD-SHELL", "test -e /healthy"],
            "interval": 200_000_000,
            "retries": 50,
        }
        strategy = HealthcheckWaitStrategy().with_startup_timeout(20)
        script = "sleep 0.5; touch /healthy; sleep 600"
        container = self.waited(strategy, script, healthcheck=check)
        self.assertEqual(container.get_wrapped_container().health, "healthy")
        with self.assertRaises(RuntimeError):
            self.waited(strategy, "sleep 600", healthcheck={**check, "retries": 1})

    def test_commands_files_and_more_at_once(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            strategy = CompositeWaitStrategy(
                ContainerStatusWaitStrategy(),
                LogMessageWaitStrategy("begun"),
                ExecWaitStrategy(["test", "-e", "/shared/file"]),
                FileExistsWaitStrategy(Path(directory, "file")),
            ).with_startup_timeout(20)
            script = "echo begun; sleep 0.5; touch /shared/file; sleep 600"
            begin = time.monotonic()
            self.waited(strategy, script, volumes=[(directory, "/shared", "rw")])
            self.assertGreater(time.monotonic() - begin, 0.5)


class ComposeTests(ClientCase):
    def test_a_project(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "compose.yaml").write_text(PROJECT)
            Path(directory, "secret.txt").write_text("secret\n")
            Path(directory, "more.env").write_text("WHAT=composed\n")
            made = DockerCompose(directory, "compose.yaml", env_file="more.env", profiles=["more"])
            made.waiting_for({"web": LogMessageWaitStrategy("listening")})
            with made as compose:
                names = sorted(str(one.Service) for one in compose.get_containers())
                self.assertEqual(names, ["other", "web"])
                host, port = compose.get_service_host_and_port("web", 80)
                compose.wait_for(f"http://{host}:{port}/")
                with urllib.request.urlopen(f"http://{host}:{port}/", timeout=60) as answer:
                    self.assertEqual(answer.read(), b"served composed\n")
                told = compose.exec_in_container(["sh", "-c", "echo out; echo err >&2"], "other")
                self.assertEqual(told, ("out\n", "err\n", 0))
                given = compose.exec_in_container(["cat", "/etc/conf", "/run/secrets/sec"], "web")
                self.assertEqual(given, ("config\nsecret\n", "", 0))
                self.assertIn("listening", compose.get_logs("web")[0])
                info = compose.get_container("web").get_container_info()
                assert info is not None
                assert info.State is not None
                assert info.State.Health is not None
                self.assertEqual(info.State.Health.Status, "healthy")
            self.assertEqual(self.client.volumes.list(), [])


PROJECT = f"""
services:
  web:
    image: busybox
    network_mode: bridge
    environment: [WHAT]
    stop_grace_period: 0s
    command: ["sh", "-c", "{SERVER.replace("$", "$$").replace("sleep 0.5", "echo listening")}"]
    ports: ["127.0.0.1::80"]
    volumes: ["data:/data"]
    configs: [{{source: conf, target: /etc/conf}}]
    secrets: [sec]
    healthcheck:
      test: wget -q -O /dev/null http://127.0.0.1/
      interval: 0.2s
      retries: 50
  other:
    image: busybox
    network_mode: none
    profiles: [more]
    init: true
    command: sleep 600
    depends_on:
      web:
        condition: service_healthy
volumes:
  data:
configs:
  conf:
    content: "config\\n"
secrets:
  sec:
    file: secret.txt
"""

if __name__ == "__main__":
    unittest.main()
