"""The options on the command line."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.versions import Version
from dockerapi.settings import Kind, Settings, certificate_directory, options
from dockerapi.tap import Options

CONFIGURATION = Path(__file__).parent.parent / "docs" / "configuration.md"


class OptionsTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Settings:
        parsed = Options()
        parsed.parseOptions(arguments)
        settings = parsed["settings"]
        assert isinstance(settings, Settings)
        return settings

    def refused(self, *arguments: str) -> str:
        return str(self.assertRaises(UsageError, self.parse, *arguments))

    def test_defaults_are_dockerds(self) -> None:
        settings = self.parse()
        self.assertEqual(settings, Settings())
        self.assertEqual(settings.listen_on, ("unix:///var/run/docker.sock",))
        self.assertEqual(settings.group, "docker")
        self.assertTrue(settings.buffer_requests)
        self.assertFalse(settings.tls or settings.tlsverify or settings.insecure_tcp)

    def test_hosts_by_both_names_and_endpoints(self) -> None:
        settings = self.parse(
            "-H", "unix:///a", "--host", "fd://", "-Htcp://", "--endpoint", "tcp:1"
        )
        self.assertEqual(settings.hosts, ("unix:///a", "fd://", "tcp://"))
        self.assertEqual(settings.listen_on, (*settings.hosts, "endpoint://tcp:1"))

    def test_flags_as_go_writes_them(self) -> None:
        settings = self.parse("-H=unix:///a=b", "--tlsverify=true", "-D=1", "--tls=false")
        self.assertEqual(settings.hosts, ("unix:///a=b",))
        self.assertTrue(settings.tlsverify and settings.debug)
        self.assertFalse(settings.tls)
        self.assertFalse(self.parse("--buffer-requests=false").buffer_requests)
        self.assertEqual(self.parse("--group", "--tls=x").group, "--tls=x")
        self.assertIn("--tls: want true or false", self.refused("--tls=maybe"))

    def test_every_option_is_taken(self) -> None:
        values = {
            Kind.NUMBER: "7",
            Kind.SECONDS: "1.5",
            Kind.VERSION: "1.30",
            Kind.TEXT: "unix://x",
            Kind.LIMITS: "nofile=1:2",
        }
        special = {"default-shm-size": "1m", "default-ipc-mode": "shareable"}
        for option in options():
            if option.kind is Kind.FLAG:
                self.assertTrue(getattr(self.parse(f"--{option.name}"), option.field))
                continue
            value = special.get(option.name) or values.get(option.kind, "a")
            self.assertNotEqual(
                getattr(self.parse(f"--{option.name}", value), option.field), option.default
            )

    def test_short_names_and_negation(self) -> None:
        settings = self.parse("-D", "-G", "wheel", "--no-buffer-requests")
        self.assertEqual(
            (settings.debug, settings.group, settings.buffer_requests), (True, "wheel", False)
        )

    def test_cors(self) -> None:
        self.assertEqual(self.parse().cors_origins, ())
        self.assertEqual(self.parse("--api-enable-cors").cors_origins, ("*",))
        settings = self.parse("--api-cors-header", "http://a, http://b")
        self.assertEqual(settings.cors_origins, ("http://a", "http://b"))

    def test_versions(self) -> None:
        self.assertEqual(self.parse("--min-api-version", "1.12").min_api_version, Version(1, 12))
        self.assertIn("minimum API version", self.refused("--min-api-version", "1.11"))

    def test_refuses_by_name(self) -> None:
        self.assertIn("--backlog", self.refused("--backlog", "many"))
        self.assertIn("backlog", self.refused("--backlog", "0"))
        self.assertIn("shutdown-timeout", self.refused("--shutdown-timeout", "-1"))
        self.assertIn("idle-exit", self.refused("--idle-exit", "nan"))
        self.assertIn("invalid engine foo", self.refused("--engine", "foo"))
        self.assertIn("invalid ulimit", self.refused("--default-ulimit", "odd=1"))
        self.assertIn("invalid size", self.refused("--default-shm-size", "much"))
        self.assertIn("nope", self.refused("--nope"))

    def test_configuration_file(self) -> None:
        with tempfile.NamedTemporaryFile("w", prefix="dockerapi-", suffix=".json") as file:
            file.write('{"hosts": ["fd://"]}')
            file.flush()
            settings = self.parse("--config-file", file.name, "--debug")
            self.assertEqual((settings.hosts, settings.debug), (("fd://",), True))
            self.assertIn("both as a flag", self.refused("--config-file", file.name, "-H", "fd://"))

    def test_environment(self) -> None:
        self.assertEqual(certificate_directory({"DOCKER_CERT_PATH": "/c"}), Path("/c"))
        with patch.dict("os.environ", {"DOCKER_CERT_PATH": "/c", "DEBUG": "1"}):
            settings = self.parse()
        self.assertEqual(settings.tlscacert, "/c/ca.pem")
        self.assertTrue(settings.debug)

    def test_version_and_help(self) -> None:
        output = io.StringIO()
        with redirect_stdout(output):
            self.assertRaises(SystemExit, self.parse, "--version")
            self.assertRaises(SystemExit, self.parse, "--help")
            self.assertRaises(SystemExit, self.parse, "-h")
            self.assertRaises(SystemExit, self.parse, "-v")
        self.assertIn("dockerapi ", output.getvalue())
        for option in options():
            self.assertIn(f"--{option.name}", output.getvalue())

    def test_every_option_is_documented(self) -> None:
        rows = CONFIGURATION.read_text()
        for option in options():
            self.assertIn(f"`--{option.name}", rows)
            if option.key is not None:
                self.assertIn(f"`{option.key}`", rows)
