"""Versions in paths, and what every answer says in its headers."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.api.settings import ApiSettings
from dockerapi.engine.errors import NotFound
from dockerapi.model.versions import Version
from tests.api.support import Api, answering, failing


class VersionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api()
        self.api.everything("SystemVersion")

    def test_any_digits_and_dots_are_a_version(self) -> None:
        for text, version in (
            ("v1.24", "1.24"),
            ("v1.41", "1.41"),
            ("v1.41.0", "1.41"),
            ("v1.041", "1.41"),
            ("v1.41.9.9", "1.41"),
            ("v1.55", "1.55"),
        ):
            self.api.jobs.clear()
            self.assertEqual(self.api.ask(f"/{text}/version").status, 200, text)
            self.assertEqual(str(self.api.jobs[0].version), version)

    def test_too_new(self) -> None:
        for text in ("1.56", "1.99", "2", "2.0", "1.55.1", "99999999999.1"):
            self.assertEqual(
                self.api.message(f"/v{text}/version"),
                (
                    400,
                    f"client version {text} is too new. Maximum supported API version is 1.55",
                ),
            )

    def test_too_old(self) -> None:
        for text in ("1.23", "1", "0.0", "1.23.9", "..", "."):
            answer = self.api.ask(f"/v{text}/version")
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.header(b"content-type"), b"text/plain; charset=utf-8")
            self.assertEqual(answer.header(b"x-content-type-options"), b"nosniff")
            self.assertEqual(
                answer.body.decode(),
                f"client version {text} is too old. Minimum supported API version is 1.24, "
                "please upgrade your client to a newer version\n",
            )

    def test_no_version_at_all(self) -> None:
        for text in ("v", "va", "v1.41a", "1.41", "V1.41"):
            self.assertEqual(self.api.ask(f"/{text}/version").status, 404, text)

    def test_a_higher_floor_answers_in_json(self) -> None:
        api = Api(ApiSettings(min_api_version=Version(1, 40)))
        status, text = api.message("/v1.39/version")
        self.assertEqual(status, 400)
        self.assertIn("Minimum supported API version is 1.40,", text)

    def test_a_lower_floor_serves_old_clients_with_text(self) -> None:
        api = Api(ApiSettings(min_api_version=Version(1, 12)))
        api.engine.register("ContainerInspect", failing(NotFound("No such container: x")))
        answer = api.ask("/v1.12/containers/x/json")
        self.assertEqual((answer.status, answer.body), (404, b"No such container: x\n"))
        self.assertEqual(answer.header(b"content-type"), b"text/plain; charset=utf-8")
        self.assertEqual(api.message("/v1.24/containers/x/json"), (404, "No such container: x"))
        self.assertEqual(api.ask("/v1.20/nope").body, b"page not found\n")
        self.assertEqual(api.message("/v1.24/nope"), (404, "page not found"))
        self.assertIn(b"Minimum supported API version is 1.12", api.ask("/v1.11/version").body)

    def test_an_old_engine_refuses_newer_clients_as_the_source_does(self) -> None:
        api = Api(ApiSettings(min_api_version=Version(1, 12)))
        api.engine.facts.newest = Version(1, 14)
        answer = api.ask("/v1.15/version")
        self.assertEqual(answer.status, 404)
        self.assertEqual(
            answer.body,
            b"client and server don't have same version (client : 1.15, server: 1.14)\n",
        )

    def test_options_need_a_version_that_is_served(self) -> None:
        self.assertEqual(self.api.ask("/v1.99/info", method="OPTIONS").status, 400)
        self.assertEqual(self.api.ask("/v1.41/info", method="OPTIONS").status, 200)

    def test_the_newest_version_is_the_engines(self) -> None:
        self.api.engine.facts.newest = Version(1, 41)
        self.assertIn("is 1.41", self.api.message("/v1.42/version")[1])
        self.api.ask("/version")
        self.assertEqual(self.api.jobs[-1].version, Version(1, 41))


class HeaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api()

    def test_ping(self) -> None:
        self.api.engine.register("SystemPing", answering(None))
        self.api.engine.register("SystemPingHead", answering(None))
        for method, body in (("GET", b"OK"), ("HEAD", b"")):
            answer = self.api.ask("/_ping", method=method)
            self.assertEqual((answer.status, answer.body), (200, body))
            headers = {name: value for name, value in answer.headers if name != b"date"}
            self.assertEqual(
                headers,
                {
                    b"api-version": b"1.55",
                    b"cache-control": b"no-cache, no-store, must-revalidate",
                    b"content-length": b"2" if body else b"0",
                    b"content-type": b"text/plain; charset=utf-8",
                    b"docker-experimental": b"false",
                    b"ostype": b"linux",
                    b"pragma": b"no-cache",
                    b"server": b"Docker/1.2.3 (linux)",
                    b"swarm": b"inactive",
                },
            )

    def test_ping_tells_new_facts(self) -> None:
        self.api.engine.register("SystemPing", answering(None))
        self.api.ask("/_ping")
        facts = self.api.engine.facts
        facts.builder, facts.swarm, facts.experimental = "2", "active/manager", True
        facts.newest = Version(1, 41)
        answer = self.api.ask("/_ping")
        self.assertEqual(answer.header(b"builder-version"), b"2")
        self.assertEqual(answer.header(b"swarm"), b"active/manager")
        self.assertEqual(answer.header(b"docker-experimental"), b"true")
        self.assertEqual(answer.header(b"api-version"), b"1.41")

    def test_every_answer_names_the_server(self) -> None:
        self.api.engine.register("SystemInfo", answering({"ID": "<&>"}))
        for path in ("/info", "/nope", "/events", "/v9/info"):
            answer = self.api.ask(path)
            self.assertEqual(answer.header(b"api-version"), b"1.55")
            self.assertEqual(answer.header(b"ostype"), b"linux")
            self.assertEqual(answer.header(b"content-type"), b"application/json")
            self.assertIsInstance(json.loads(answer.body), dict)

    def test_json_is_as_dockerd_writes_it(self) -> None:
        self.api.engine.register("SystemInfo", answering({"ID": "<&>\u2028\udcff"}))
        body = self.api.ask("/info").body
        self.assertEqual(body, b'{"ID":"<&>\\u2028\xef\xbf\xbd"}\n')
