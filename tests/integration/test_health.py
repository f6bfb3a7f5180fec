"""Health checks of real containers, as the CLI shows them."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.integration.server import wait_until
from tests.integration.test_cli import EmbeddedCase


class HealthTests(EmbeddedCase):
    def health(self, name: str) -> str:
        return self.ok("inspect", "-f", "{{.State.Health.Status}}", name).strip()

    def run_checked(self, command: str, *options: str) -> None:
        self.ok(
            *("run", "-d", "--name", "box", "--network", "none", "--health-cmd", command),
            *("--health-interval", "200ms", *options, "busybox", "sleep", "1000"),
        )

    def test_healthy_then_not_then_again(self) -> None:
        since = str(int(time.time()))
        self.run_checked("test ! -e /sick", "--health-retries", "2")
        self.assertIn("(health: starting)", self.ok("ps"))
        self.assertTrue(wait_until(lambda: self.health("box") == "healthy"))
        self.assertIn("(healthy)", self.ok("ps", "--filter", "health=healthy"))
        self.ok("exec", "box", "touch", "/sick")
        self.assertTrue(wait_until(lambda: self.health("box") == "unhealthy"))
        self.assertEqual(self.ok("ps", "-q", "--filter", "health=healthy"), "")
        self.ok("exec", "box", "rm", "/sick")
        self.assertTrue(wait_until(lambda: self.health("box") == "healthy"))
        told = self.ok(
            *("events", "--since", since, "--until", str(int(time.time()) + 1)),
            *("--filter", "event=health_status", "--format", "{{.Action}}"),
        )
        self.assertEqual(
            told.splitlines(),
            ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"],
        )

    def test_the_log_keeps_output_and_code(self) -> None:
        self.run_checked("echo out; echo err >&2; exit 3")
        self.assertTrue(wait_until(lambda: len(self.log()) == 5))
        self.assertEqual(self.log()[0]["ExitCode"], 3)
        self.assertEqual(sorted(self.log()[0]["Output"].split()), ["err", "out"])

    def test_one_that_takes_too_long_is_killed(self) -> None:
        self.run_checked("echo begun; sleep 77", "--health-timeout", "300ms")
        self.assertTrue(wait_until(lambda: bool(self.log())))
        self.assertEqual(self.log()[0]["ExitCode"], -1)
        self.assertIn("Health check exceeded timeout (300ms): begun", self.log()[0]["Output"])
        self.assertTrue(wait_until(lambda: self.ok("top", "box").count("sleep 77") <= 1))

    def test_one_that_takes_too_long_and_says_nothing(self) -> None:
        self.run_checked("sleep 77", "--health-timeout", "300ms")
        self.assertTrue(wait_until(lambda: bool(self.log())))
        self.assertEqual(self.log()[0]["Output"], "Health check exceeded timeout (300ms)")

    def test_none_while_it_is_paused_and_after_its_end(self) -> None:
        self.run_checked("date >> /checks")
        self.assertTrue(wait_until(lambda: self.health("box") == "healthy"))
        self.ok("pause", "box")
        before = len(self.log())
        time.sleep(0.6)
        self.assertLessEqual(len(self.log()), before + 1)
        self.assertEqual(self.health("box"), "unhealthy")
        self.ok("unpause", "box")
        self.assertTrue(wait_until(lambda: self.health("box") == "healthy"))
        self.ok("kill", "box")
        self.assertEqual(self.health("box"), "unhealthy")

    def log(self) -> list[dict[str, Any]]:
        document = json.loads(self.ok("inspect", "box"))[0]
        return list(document["State"]["Health"]["Log"])
