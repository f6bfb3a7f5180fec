"""What a daemon without swarm, plugins and builds answers, as the CLI shows it."""

from __future__ import annotations

from tests.integration.test_cli import EmbeddedCase


class AbsentTests(EmbeddedCase):
    def test_no_swarm(self) -> None:
        for command in (
            *(("service", "ls"), ("node", "ls"), ("secret", "ls"), ("config", "ls")),
            *(("stack", "ls"), ("swarm", "join-token", "worker"), ("node", "inspect", "self")),
        ):
            done = self.server.run(*command)
            self.assertEqual(done.returncode, 1, command)
            self.assertIn(b"This node is not a swarm manager.", done.stderr, command)
        self.assertIn(b"not part of a swarm", self.server.run("swarm", "leave").stderr)

    def test_no_plugins(self) -> None:
        self.assertEqual(self.ok("plugin", "ls", "-q"), "")
        done = self.server.run("plugin", "inspect", "nosuch")
        self.assertIn(b'plugin "nosuch" not found', done.stderr)

    def test_prune_of_everything_goes_through(self) -> None:
        self.ok("create", "--name", "old", "busybox", "true")
        told = self.ok("system", "prune", "--force")
        self.assertIn("Total reclaimed space:", told)
        self.assertEqual(self.ok("ps", "-aq"), "")
        self.assertEqual(self.ok("network", "prune", "--force"), "")
        done = self.server.run("network", "prune", "--force", "--filter", "odd=x")
        self.assertIn(b"invalid filter 'odd'", done.stderr)

    def test_what_would_make_one_is_not_supported(self) -> None:
        done = self.server.run("swarm", "init")
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"SwarmInit is not supported by this engine", done.stderr)
