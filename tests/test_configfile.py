"""daemon.json: its keys, and dockerd's words for what is wrong with it."""

from __future__ import annotations

import json
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.configfile import read_config_file
from dockerapi.engine.errors import InvalidParameter
from dockerapi.model.versions import Version


class ConfigFileTests(SynchronousTestCase):
    def read(self, text: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile("w", prefix="dockerapi-", suffix=".json") as file:
            file.write(text)
            file.flush()
            self.path = file.name
            return read_config_file(file.name, given or {})

    def refused(self, text: str, given: dict[str, Any] | None = None) -> str:
        message = self.assertRaises(InvalidParameter, self.read, text, given).message
        prefix = f"unable to configure the Docker daemon with file {self.path}: "
        self.assertTrue(message.startswith(prefix), message)
        return message.removeprefix(prefix)

    def test_reads_dockerds_keys(self) -> None:
        document = {
            "hosts": ["unix:///a", "tcp://127.0.0.1:2376"],
            "group": "wheel",
            "tls": True,
            "tlsverify": True,
            "tlscacert": "/ca",
            "tlscert": "/cert",
            "tlskey": "/key",
            "data-root": "/d",
            "exec-root": "/e",
            "debug": True,
            "insecure-registries": ["r:5000"],
            "registry-mirrors": ["https://m"],
            "api-cors-header": "*",
            "bip": "10.0.0.1/24",
            "dns": ["1.1.1.1"],
            "dns-opts": ["ndots:1"],
            "dns-search": ["example.org"],
            "labels": ["a=b"],
            "default-runtime": "crun",
            "shutdown-timeout": 5,
            "min-api-version": "1.12",
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
            "default-shm-size": "1m",
            "default-ipc-mode": "shareable",
            "init": True,
        }
        found = self.read(json.dumps(document))
        self.assertEqual(found["hosts"], ["unix:///a", "tcp://127.0.0.1:2376"])
        self.assertEqual(found["dns_opts"], ["ndots:1"])
        self.assertEqual(found["shutdown_timeout"], 5.0)
        self.assertEqual(found["min_api_version"], Version(1, 12))
        self.assertEqual(found["default_ulimits"], ("nofile=1:2",))
        self.assertEqual(len(found), len(document))

    def test_nothing_is_nothing(self) -> None:
        for text in ("", " \n", "{}", '{"debug": null}'):
            self.assertEqual(self.read(text, {"debug": True}), {})

    def test_names_unknown_keys(self) -> None:
        self.assertEqual(
            self.refused('{"zzz": 1, "debug": true, "foo": {}}'),
            "the following directives don't match any configuration option: foo, zzz",
        )

    def test_refuses_what_the_command_line_gave_too(self) -> None:
        given = {"hosts": ("unix:///x",), "debug": True}
        self.assertEqual(
            self.refused('{"hosts": ["unix:///q", "fd://"], "debug": false}', given),
            "the following directives are specified both as a flag and in the configuration file: "
            "debug: (from flag: true, from file: false), "
            "hosts: (from flag: [unix:///x], from file: [unix:///q fd://])",
        )

    def test_names_the_key_of_a_wrong_type(self) -> None:
        for text in ('{"hosts": 3}', '{"debug": "yes"}', '{"bip": []}', '{"backlog": 1.5}'):
            self.assertIn(next(iter(json.loads(text))) + ": ", self.refused(text))
        self.assertIn("min-api-version: ", self.refused('{"min-api-version": "new"}'))

    def test_runtimes_as_tools_write_them(self) -> None:
        empty: tuple[dict[str, Any], ...] = (
            {},
            {"runtimeArgs": []},
            {"args": [], "runtimeArgs": []},
        )
        for rest in empty:
            text = json.dumps({"runtimes": {"nvidia": {"path": "nvidia-runtime", **rest}}})
            self.assertEqual(self.read(text), {"runtimes": ("nvidia=nvidia-runtime",)})
        for rest, told in (
            ({"runtimeArgs": ["--debug"]}, "arguments of runtimes are not supported"),
            ({"runtimeType": "io.x"}, "runtimeType"),
        ):
            text = json.dumps({"runtimes": {"one": {"path": "x", **rest}}})
            self.assertIn(told, self.refused(text))

    def test_refuses_what_is_no_json_object(self) -> None:
        for text in (
            "[]",
            '{"debug": true',
            "nope",
            '{"a": "\ud800"}'.encode("utf-8", "replace").decode(),
        ):
            self.refused(text)

    def test_refuses_a_missing_file(self) -> None:
        error = self.assertRaises(InvalidParameter, read_config_file, "/no/such.json", {})
        self.assertEqual(
            error.message,
            "unable to configure the Docker daemon with file /no/such.json: "
            "open /no/such.json: no such file or directory",
        )
