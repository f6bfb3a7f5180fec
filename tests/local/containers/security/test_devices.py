"""Devices of the host for a container, and what is said of those that are none."""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.security.devices import host_devices
from dockerapi.model.containers import Device


class WordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-devices-")
        self.addCleanup(directory.cleanup)
        self.base = Path(directory.name)

    def test_what_is_no_device(self) -> None:
        (self.base / "file").touch()
        (self.base / "empty").mkdir()
        for name, reason in (
            ("file", "not a device node"),
            ("empty", "not a device node"),
            ("none", "no such file or directory"),
        ):
            path = f"{self.base}/{name}"
            device = Device(path_on_host=path, path_in_container="/x")
            error = self.assertRaises(EngineError, host_devices, [device])
            self.assertEqual(
                error.message,
                f'error gathering device information while adding custom device "{path}": {reason}',
            )
