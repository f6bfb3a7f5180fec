"""What is logged of requests, and what never is."""

from __future__ import annotations

from typing import Any

from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.api.log import LONGEST, shown
from dockerapi.api.settings import ApiSettings
from dockerapi.engine.errors import EngineError, NotFound
from tests.api.support import TCP, Api, answering, failing
from tests.http.support import get
from tests.logs import logged


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.events = logged(self)

    def lines(self, level: str | None = None) -> list[str]:
        return [
            line
            for event in self.events
            if level is None or event["log_level"].name == level
            for line in formatEvent(event).split("\n")
        ]

    def api(self, **settings: Any) -> Api:
        api = Api(ApiSettings(version="1.2.3", **settings))
        self.addCleanup(api.resource.close)
        return api

    def test_routes_are_registered_aloud(self) -> None:
        self.api(debug=True)
        self.assertIn("Registering POST, /containers/create", self.lines("debug"))
        self.events.clear()
        self.api()
        self.assertEqual(self.lines(), [])

    def test_calls(self) -> None:
        self.api(debug=True).ask("/v1.41/containers/a%0Ab/json?x=secret")
        calls = [line for line in self.lines("debug") if line.startswith("Calling")]
        self.assertEqual(calls, [])
        self.api(debug=True).ask("/v1.41/containers/a%09b/json?x=secret")
        self.assertIn("Calling GET /containers/a%09b/json", self.lines("debug"))

    def test_clients_of_another_version(self) -> None:
        api = self.api(debug=True)
        api.ask("/info", b"User-Agent: Docker-Client/1.2.3 (linux)")
        self.assertFalse([line for line in self.lines() if "same version" in line])
        api.ask("/info", b"User-Agent: Docker-Client/28.2 (linux)")
        self.assertIn(
            "Warning: client and server don't have the same version (client: 28.2, server: 1.2.3)",
            self.lines("debug"),
        )

    def test_errors(self) -> None:
        api = self.api()
        api.engine.register("ContainerInspect", failing(NotFound("No such container: x")))
        api.engine.register("SystemInfo", failing(EngineError("the disk is full")))
        api.ask("/v1.41/containers/x/json")
        api.ask("/info")
        self.assertEqual(
            self.lines("info"),
            ["Handler for GET /containers/x/json returned error: No such container: x"],
        )
        self.assertEqual(
            self.lines("error"), ["Handler for GET /info returned error: the disk is full"]
        )

    def test_outcomes(self) -> None:
        api = self.api()
        api.engine.register("SystemInfo", answering({"a": 1}))
        api.ask("/v1.41/info?secret=1")
        api.ask("/v1.41/info", peer=TCP, method="DELETE")
        self.events.clear()
        api.clock.advance(1)
        first, second = self.lines("info")
        self.assertRegex(first, r"^GET /v1\.41/info 200 \d+\.\dms 8B uid:0/pid:42$")
        self.assertRegex(second, r"^DELETE /v1\.41/info 403 \d+\.\dms \d+B 127\.0\.0\.1:4711$")

    def test_what_waits_is_written_at_the_end(self) -> None:
        api = self.api()
        api.ask("/nope")
        api.resource.close()
        self.assertEqual(len(self.lines()), 1)
        api.resource.close()
        self.assertEqual(len(self.lines()), 1)
        self.assertEqual(api.clock.getDelayedCalls(), [])

    def test_secrets_stay_out(self) -> None:
        api = self.api(debug=True)
        api.engine.register("ImageBuild", failing(NotFound("no")))
        connection = api.connect()
        connection.send(
            get(
                b"/build?buildargs=%7B%22TOKEN%22%3A%22hunter2%22%7D",
                b"X-Registry-Auth: hunter2",
                b"X-Registry-Config: hunter2",
                b"Authorization: hunter2",
                b"Content-Length: 7",
                method=b"POST",
            )
            + b"hunter2"
        )
        api.resource.close()
        self.assertGreater(len(self.lines()), 2)
        self.assertNotIn("hunter2", repr(self.events))

    def test_control_characters_are_escaped(self) -> None:
        api = self.api(debug=True)
        api.engine.register("ContainerInspect", failing(NotFound("No such container: a\x1b[2J\n")))
        api.ask("/containers/%1B%FF/json", b"User-Agent: Docker-Client/\x9b2J\xff (x)")
        api.resource.close()
        for line in self.lines():
            self.assertTrue(line.isascii() and line.isprintable(), ascii(line))
        text = "\n".join(self.lines())
        self.assertIn("No such container: a\\x1b[2J\\n", text)
        self.assertIn("(client: \\x9b2J\\xff, server", text)

    def test_nothing_at_all(self) -> None:
        api = self.api(logging=False)
        api.ask("/nope")
        api.ask("/info")
        api.clock.advance(1)
        self.assertEqual(self.lines(), [])

    def test_braces_are_text(self) -> None:
        api = self.api(debug=True)
        api.ask("/containers/{x}{/json")
        api.resource.close()
        self.assertIn("Calling GET /containers/{x}{/json", self.lines())
        self.assertTrue(any("{x}{/json 501" in line for line in self.lines()))

    def test_long_paths_are_cut(self) -> None:
        self.assertEqual(shown(b"a" * LONGEST), "a" * LONGEST)
        self.assertEqual(shown(b"a" * (LONGEST + 1)), "a" * LONGEST + "...")
        self.assertEqual(shown(b"\\\r\n\xe9"), "\\\\\\r\\n\\xe9")
