"""Whether a runtime works, tried where systemd has the runtime directory: without devices."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from dockerapi.local.containers.runtime.probe import choose_runtime
from dockerapi.local.host.spawn import find_program
from dockerapi.local.layout import Layout


class NoDevicesTests(TestCase):
    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("mounts need root")
        self.base = Path(tempfile.mkdtemp(prefix="dockerapi-probe-"))
        self.addCleanup(shutil.rmtree, self.base)
        options = ("-t", "tmpfs", "-o", "nosuid,nodev,mode=755", "tmpfs")
        subprocess.run(("mount", *options, self.base), check=True)
        self.addCleanup(subprocess.run, ("umount", "-l", self.base), check=True)

    async def test_runc(self) -> None:
        layout = Layout(self.base / "data", self.base / "run")
        found = await choose_runtime(layout, find_program("conmon"), {"runc": "runc"})
        self.assertEqual(found.name, "runc")
