"""The examples that aiodocker and testcontainers ship, as they stand in what is installed.

Rule: nothing of them is repeated here; the images that they name are made of busybox.
"""

from __future__ import annotations

import doctest
import importlib.metadata
import re
import subprocess
import sys
import textwrap
import unittest
from typing import Any

import docker
from testcontainers.core import container

#: The first example of the description that aiodocker ships.
_EXAMPLE = re.compile(r"^Examples\n=+\n.*?code-block:: python\n(.*)", re.DOTALL | re.MULTILINE)


class ExampleTests(unittest.TestCase):
    def setUp(self) -> None:
        self.client = docker.from_env()
        self.addCleanup(self.client.close)
        self.busybox = self.client.images.get("busybox")

    def make_image(self, name: str, *changes: str) -> None:
        """Make an image of busybox that has a further name and configuration."""
        made = self.client.containers.create("busybox", "true", network_mode="none")
        made.commit(name, "latest", changes=list(changes))
        made.remove()
        self.addCleanup(self.client.images.remove, name)

    def test_aiodocker(self) -> None:
        metadata: Any = importlib.metadata.metadata("aiodocker")
        found = _EXAMPLE.search(str(metadata.get_payload()))
        assert found is not None
        self.make_image("alpine")
        command = (sys.executable, "-c", textwrap.dedent(found[1]))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        # The example does not wait for what it runs: its output may come too late.
        self.assertIn(" alpine:latest\n", done.stdout)
        self.assertEqual(self.client.containers.list(all=True), [])

    def test_testcontainers(self) -> None:
        self.make_image("hello-world", 'CMD ["echo", "Hello from Docker!"]')
        result = doctest.testmod(container, exclude_empty=True)
        self.assertEqual(result.failed, 0)
        self.assertGreater(result.attempted, 3)
        self.assertEqual(self.client.containers.list(all=True), [])


if __name__ == "__main__":
    unittest.main()
