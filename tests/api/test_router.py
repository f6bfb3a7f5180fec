"""Every path means what dockerd's router makes of it."""

from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.api.paths import BadEscape
from dockerapi.api.route import Route
from dockerapi.api.router import REMEMBERED, Match, Redirect, Router
from dockerapi.api.routes import ROUTES
from dockerapi.api.settings import ApiSettings
from dockerapi.model.operations import OPERATIONS
from dockerapi.model.versions import Version
from tests.api.support import Api


def filled(route: Route) -> tuple[str, list[str]]:
    """Return a path of `route`, and the names in it."""
    names = [f"name{number}" for number in range(route.path.count("{"))]
    left = iter(names)
    return re.sub(r"\{[^}]+\}", lambda _: next(left), route.path), names


#: What the newest version has.
CURRENT = [row for row in ROUTES if row.until is None]


class EveryRowTests(SynchronousTestCase):
    def test_every_operation_has_a_row(self) -> None:
        self.assertEqual({row.operation for row in ROUTES}, set(OPERATIONS))

    def test_no_row_stands_twice(self) -> None:
        self.assertEqual(len({(row.method, row.path) for row in ROUTES}), len(ROUTES))

    def test_every_row_runs_its_job(self) -> None:
        api = Api()
        api.everything(*OPERATIONS)
        for row in CURRENT:
            path, names = filled(row)
            for prefix in ("", "/v1.41"):
                api.jobs.clear()
                answer = api.ask(prefix + path, method=row.method)
                with_row = f"{row.method} {prefix}{path}"
                self.assertEqual(answer.status, row.status, with_row)
                (job,) = api.jobs
                self.assertEqual((job.name, list(job.args)), (row.operation, names), with_row)
                self.assertEqual(str(job.version), prefix[2:] or "1.55")
                self.assertEqual(job.envelope.path, path)
                self.assertEqual(job.envelope.method, row.method)

    def test_what_newer_versions_do_not_have(self) -> None:
        api = Api(ApiSettings(version="1.2.3", min_api_version=Version(1, 12)))
        api.everything(*OPERATIONS)
        (row,) = (row for row in ROUTES if row.until is not None)
        path, names = filled(row)
        for prefix in ("", "/v1.24", "/v1.55"):
            answer = api.ask(prefix + path, method=row.method)
            self.assertEqual((answer.status, answer.body), (404, b'{"message":"page not found"}\n'))
        self.assertEqual(api.jobs, [])
        self.assertEqual(api.ask(f"/v1.23{path}", method=row.method).status, row.status)
        self.assertEqual([(job.name, list(job.args)) for job in api.jobs], [(row.operation, names)])

    def test_every_row_says_which_operation_no_engine_does(self) -> None:
        api = Api()
        for row in CURRENT:
            answer = api.ask(filled(row)[0], method=row.method)
            self.assertEqual(answer.status, 501)
            text = f"{row.operation} is not supported by this engine"
            if row.operation == "ContainerAttach":
                # dockerd's, too, looks like the stream that it is not.
                kind = b"application/vnd.docker.raw-stream"
                self.assertEqual(answer.header(b"content-type"), kind)
                self.assertEqual(answer.body, f"{text}\r\n".encode())
                continue
            self.assertEqual(answer.header(b"content-type"), b"application/json")
            if row.method != "HEAD":
                self.assertEqual(json.loads(answer.body)["message"], text)


class PathTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api()
        self.api.everything(*OPERATIONS)

    def names(self, path: str, operation: str, method: str = "GET") -> tuple[str, ...]:
        """Return the names that the job `operation` gets from `path`."""
        self.api.jobs.clear()
        self.api.ask(path, method=method)
        (job,) = self.api.jobs
        self.assertEqual(job.name, operation)
        return job.args

    def test_names_have_slashes(self) -> None:
        for path in ("/images/a/b:c/json", "/images/a%2Fb:c/json", "/images/a%2fb%3Ac/json"):
            self.assertEqual(self.names(path, "ImageInspect"), ("a/b:c",))
        name = "host:5000/a/b/c@sha256:00"
        self.assertEqual(self.names(f"/images/{name}", "ImageDelete", "DELETE"), (name,))
        self.assertEqual(self.names(f"/distribution/{name}/json", "DistributionInspect"), (name,))
        self.assertEqual(self.names("/plugins/a/b/json", "PluginInspect"), ("a/b",))

    def test_names_that_look_like_verbs(self) -> None:
        for path in ("/containers/x/json/json", "/containers/x%2Fjson/json"):
            self.assertEqual(self.names(path, "ContainerInspect"), ("x/json",))
        self.assertEqual(self.names("/containers/json/json", "ContainerInspect"), ("json",))
        self.assertEqual(self.names("/images/json/json", "ImageInspect"), ("json",))
        self.assertEqual(self.names("/images/get/get", "ImageGet"), ("get",))
        self.assertEqual(
            self.names("/containers/create/start", "ContainerStart", "POST"), ("create",)
        )

    def test_names_with_dots_and_odd_characters(self) -> None:
        self.assertEqual(self.names("/containers/x./json", "ContainerInspect"), ("x.",))
        self.assertEqual(self.names("/containers/x../json", "ContainerInspect"), ("x..",))
        self.assertEqual(self.names("/containers/..x/json", "ContainerInspect"), ("..x",))
        self.assertEqual(self.names("/volumes/a%20b%3F%23", "VolumeInspect"), ("a b?#",))
        self.assertEqual(self.names("/volumes/a+b", "VolumeInspect"), ("a+b",))
        self.assertEqual(self.names("/volumes/%C3%A9", "VolumeInspect"), ("é",))
        self.assertEqual(self.names("/volumes/%FF", "VolumeInspect"), ("\ufffd",))

    def test_empty_names(self) -> None:
        self.assertEqual(self.names("/volumes/", "VolumeInspect"), ("",))
        self.assertEqual(self.names("/images/", "ImageDelete", "DELETE"), ("",))
        self.assertEqual(self.names("/networks/", "NetworkList"), ())

    def test_an_escaped_path_is_its_meaning(self) -> None:
        self.assertEqual(self.names("/%63ontainers/%6Ason", "ContainerList"), ())

    def test_unclean_paths_are_redirected(self) -> None:
        for path, clean in (
            ("//containers/json", "/containers/json"),
            ("/containers//json", "/containers/json"),
            ("/v1.41//version", "/v1.41/version"),
            ("/containers/./json", "/containers/json"),
            ("/containers/../version", "/version"),
            ("/../../version", "/version"),
            ("/images/a//b/json", "/images/a/b/json"),
            ("/containers//json?all=1", "/containers/json?all=1"),
            ("//evil%0D%0AX:%20y", "/evil%0D%0AX:%20y"),
        ):
            answer = self.api.ask(path)
            self.assertEqual((answer.status, answer.header(b"location")), (301, clean.encode()))
        self.assertEqual(self.api.jobs, [])

    def test_a_redirect_stays_on_this_server(self) -> None:
        location = self.api.ask("///evil.example/%2Fx").header(b"location")
        assert location is not None
        self.assertTrue(location.startswith(b"/evil.example/"), location)

    def test_unknown_paths_and_methods(self) -> None:
        for method, path in (
            ("GET", "/"),
            ("GET", "/nope"),
            ("GET", "/v1.41"),
            ("GET", "/v1.41/"),
            ("GET", "/version/"),
            ("GET", "/containers/json/"),
            ("GET", "/v1.41/v1.41/version"),
            ("GET", "/version1.41/info"),
            ("GET", "/images/viz"),
            ("POST", "/version"),
            ("PUT", "/containers/json"),
            ("HEAD", "/version"),
            ("PROPFIND", "/_ping"),
            ("GET", "/volumes/a%0Ab"),
            ("GET", "/nodes/a/b"),
        ):
            answer = self.api.ask(path, method=method)
            self.assertEqual(answer.status, 404, path)
            self.assertEqual(answer.header(b"content-type"), b"application/json")
            if method != "HEAD":
                self.assertEqual(answer.body, b'{"message":"page not found"}\n')
        self.assertEqual(self.api.jobs, [])

    def test_options_on_anything(self) -> None:
        for path in ("/version", "/nope", "/v1.41/containers/x", "/v1.41/nope"):
            answer = self.api.ask(path, method="OPTIONS")
            self.assertEqual((answer.status, answer.body), (200, b""))

    def test_bad_escapes(self) -> None:
        for path, shown in (
            ("/containers/json?%zz", "%zz"),
            ("/containers/json?a=%", "%"),
            ("/containers/json?a=%2", "%2"),
            ("/containers/%zz/json", "%zz"),
            ("/containers/a%2/json", "%2/"),
        ):
            status, text = self.api.message(path)
            self.assertEqual((status, text), (400, f'invalid URL escape "{shown}"'))
        status, text = self.api.message("/containers/json?a=1;b=2")
        self.assertEqual((status, text), (400, "invalid semicolon separator in query"))
        self.assertEqual(self.api.jobs, [])

    def test_what_has_no_query_does_not_look_at_it(self) -> None:
        for path in ("/_ping", "/info", "/version"):
            self.assertEqual(self.api.ask(f"{path}?%zz;").status, 200)

    def test_the_query_reaches_the_job_as_it_came(self) -> None:
        self.api.ask("/containers/json?filters=%7B%7D&all=1?")
        (job,) = self.api.jobs
        self.assertEqual(job.envelope.query, "filters=%7B%7D&all=1?")

    def test_the_path_reaches_the_job_still_escaped(self) -> None:
        self.api.ask("/v1.40/images/a%2Fb/json")
        (job,) = self.api.jobs
        self.assertEqual(job.envelope.path, "/images/a%2Fb/json")


def unused(request: object) -> None:
    """Stand in for Klein's endpoint."""


class MemoryTests(SynchronousTestCase):
    router = Router(ROUTES, unused)

    def test_remembers_in_bounds(self) -> None:
        router = Router(ROUTES, unused)
        for number in range(REMEMBERED + 10):
            router.resolve(b"GET", b"/containers/%d/json" % number)
        self.assertLessEqual(len(router._remembered), REMEMBERED)
        long = b"/containers/" + b"a" * 4000 + b"/json"
        self.assertIsInstance(router.resolve(b"GET", long), Match)
        self.assertNotIn((b"GET", long), router._remembered)

    @given(st.sampled_from([b"GET", b"POST", b"DELETE", b"HEAD"]), st.binary(max_size=40))
    def test_any_path_has_a_meaning(self, method: bytes, tail: bytes) -> None:
        for path in (tail, b"/" + tail, b"/containers/" + tail, b"/v1.41/images/" + tail):
            try:
                resolved = self.router.resolve(method, path)
            except BadEscape:
                self.assertIn(b"%", path)
                continue
            self.assertIsInstance(resolved, Match | Redirect | None)
            self.assertEqual(self.router.resolve(method, path), resolved)

    @given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable()))
    def test_any_name_comes_through(self, name: str) -> None:
        from urllib.parse import quote

        path = f"/volumes/{quote(name, safe='')}".encode()
        resolved = self.router.resolve(b"GET", path)
        if isinstance(resolved, Match):
            self.assertEqual(resolved.names, (name,))
        else:
            self.assertIsInstance(resolved, Redirect)
