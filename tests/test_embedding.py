"""The programs in docs/embedding.md run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.test_daemon import get

DOCUMENT = Path(__file__).parent.parent / "docs" / "embedding.md"


class EmbeddingTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-embedding-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = str(self.directory / "docker.sock")

    def run_program(self, words: str) -> None:
        programs = re.findall(
            r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
        )
        (program,) = [program for program in programs if words in program]
        (self.directory / "program.py").write_text(program)
        self.process = subprocess.Popen(
            [sys.executable, "program.py"], cwd=self.directory, stdout=subprocess.DEVNULL
        )
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        deadline = time.monotonic() + 60
        while not os.path.exists(self.path):
            self.assertIsNone(self.process.poll(), "it ended")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def test_whole_daemon(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("the embedded engine needs root")
        self.run_program("Daemon(settings)")
        status, body = get(self.path, "/info")
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(body)["OperatingSystem"], "Motto OS")
        self.end()
        self.assertFalse(os.path.exists(self.path))

    def test_engine_of_ones_own(self) -> None:
        self.run_program("Engine()")
        self.assertEqual(get(self.path, "/_ping"), (200, b"OK"))
        self.assertEqual(json.loads(get(self.path, "/version")[1])["Version"], "1.0")
        status, body = get(self.path, "/v1.41/containers/web/json")
        self.assertEqual((status, json.loads(body)["Name"]), (200, "/web"))
        status, body = get(self.path, "/containers/db/json")
        self.assertEqual((status, json.loads(body)["message"]), (404, "No such container: db"))
        status, body = get(self.path, "/containers/web/logs?stdout=1")
        self.assertEqual((status, body), (200, b"line 0\nline 1\nline 2\n"))
        self.assertEqual(get(self.path, "/images/json")[0], 501)
        self.end()
