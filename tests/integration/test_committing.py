"""docker commit of what runs: what is told, and a server that is killed meanwhile."""

from __future__ import annotations

import subprocess
import time
from unittest import TestCase, skipIf

import docker

from tests.integration.server import Server, missing, wait_until

_MISSING = missing()


@skipIf(_MISSING, _MISSING)
class CommitTests(TestCase):
    """One server for each test."""

    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.server.import_busybox()
        self.addCleanup(self.server.remove_containers)
        self.server.docker(
            *("run", "-d", "--net", "none", "--name", "cc", "busybox", "sh", "-c"),
            "dd if=/dev/zero of=/large bs=1 count=0 seek=2G; sleep 100",
        )
        self.identity = self.server.docker("inspect", "-f", "{{.Id}}", "cc").decode().strip()

    def status(self) -> str:
        return self.server.docker("inspect", "-f", "{{.State.Status}}", "cc").decode().strip()

    def test_it_is_told_before_the_container_goes_on(self) -> None:
        self.server.docker("exec", "cc", "rm", "-f", "/large")
        self.server.docker("commit", "cc", "made:1")
        told = self.server.docker(
            *(
                "events",
                "--since",
                "1",
                "--until",
                f"{time.time():.6f}",
                "--filter",
                "container=cc",
            ),
            *("--format", "{{.Action}}"),
        )
        self.assertEqual(told.split()[-3:], [b"pause", b"commit", b"unpause"])
        self.assertEqual(self.status(), "running")
        self.assertEqual(list(self.server.directory.glob("run/**/committed")), [])

    def test_what_a_container_is_listed_with_when_its_images_name_means_another(self) -> None:
        run = self.server.docker
        run("exec", "cc", "rm", "-f", "/large")
        run("tag", "busybox", "app:1")
        run("run", "-d", "--net", "none", "--name", "old", "app:1", "sleep", "100")
        original = run("inspect", "-f", "{{.Image}}", "old").decode().strip()

        def listed(*options: str) -> str:
            return run("ps", "--no-trunc", "--format", "{{.Image}}", *options).decode().strip()

        self.assertEqual(listed("--filter", "name=old"), "app:1")
        run("commit", "cc", "app:1")
        self.assertEqual(listed("--filter", "name=old"), original)
        self.assertEqual(listed("--filter", "ancestor=app:1"), "")
        run("run", "-d", "--net", "none", "--name", "new", "app:1", "sleep", "100")
        self.assertEqual(listed("--filter", "ancestor=app:1"), "app:1")
        # What was committed is made of busybox, and so are its containers.
        names = run("ps", "--format", "{{.Names}}", "--filter", "ancestor=busybox")
        self.assertEqual(names.split(), [b"new", b"old", b"cc"])

    def test_the_next_server_thaws_what_a_killed_one_was_reading(self) -> None:
        command = ("docker", "-H", self.server.host, "commit", "cc", "made:1")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as commit:
            self.assertTrue(wait_until(lambda: self.status() == "paused"))
            self.server.kill()
            self.assertNotEqual(commit.wait(60), 0)
        self.server.start()
        self.assertEqual(self.status(), "running")
        self.assertEqual(self.server.docker("exec", "cc", "echo", "thawed"), b"thawed\n")
        # Whom a client froze stays so.
        self.server.docker("pause", "cc")
        self.server.kill()
        self.server.start()
        self.assertEqual(self.status(), "paused")

    def test_of_one_that_ends_meanwhile(self) -> None:
        client = docker.APIClient(base_url=self.server.host, version="auto", timeout=60)
        self.addCleanup(client.close)
        host = client.create_host_config(network_mode="none")
        for number in range(8):
            made = client.create_container("busybox", "true", host_config=host)
            client.start(made)
            self.assertIn("Id", client.commit(made, "ended", str(number)))
            self.assertEqual(client.wait(made)["StatusCode"], 0)
