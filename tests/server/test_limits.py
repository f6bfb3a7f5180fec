"""Limits of the process and the kernel."""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.server.limits import raise_descriptor_limit, warn_of_short_queue
from tests.logs import logged


class DescriptorTests(SynchronousTestCase):
    def test_raises_the_soft_limit_as_far_as_allowed(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        limit = raise_descriptor_limit()
        self.assertGreater(limit, 256)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (limit, hard))
        self.assertEqual(raise_descriptor_limit(), limit)


class QueueTests(SynchronousTestCase):
    def warnings(self, text: str | None) -> list[str]:
        seen = logged(self)
        with tempfile.TemporaryDirectory(prefix="dockerapi-limits-") as directory:
            path = Path(directory) / "somaxconn"
            if text is not None:
                path.write_text(text)
            warn_of_short_queue(4096, path)
        return [str(event["log_format"]) for event in seen if "somaxconn" in event["log_format"]]

    def test_warns_of_a_lower_limit_only(self) -> None:
        self.assertEqual(len(self.warnings("128\n")), 1)
        for text in ("4096\n", "65535\n", "nonsense", None):
            self.assertEqual(self.warnings(text), [])
