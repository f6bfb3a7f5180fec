"""The pages below /debug/, asked for as a client does."""

from __future__ import annotations

import gzip
import json
import sys
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.api.settings import ApiSettings
from dockerapi.http.interfaces import Peer
from tests.api.support import TCP, TLS, VERIFIED, Api, answering
from tests.http import support
from tests.http.support import answers, get

PAGES = (
    "/debug/vars",
    "/debug/pprof/",
    "/debug/pprof/cmdline",
    "/debug/pprof/symbol",
    "/debug/pprof/goroutine",
    "/debug/pprof/heap",
    "/debug/pprof/threadcreate",
)


class PagesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = Api(ApiSettings(debug=True, logging=False, allowed_hosts=("docker",)))
        self.addCleanup(self.api.resource.close)

    def page(self, path: str, peer: Peer | None = None) -> support.Answer:
        return self.api.ask(path, peer=peer)

    def test_unix_and_verified_peers_see_every_page(self) -> None:
        for peer in (None, VERIFIED):
            for path in PAGES:
                self.assertEqual(self.page(path, peer).status, 200, path)

    def test_nobody_else_does(self) -> None:
        for peer in (TCP, TLS):
            for path in PAGES:
                self.assertEqual(self.api.message(path, peer=peer), (404, "page not found"), path)

    def test_without_debug_there_are_none(self) -> None:
        api = Api(ApiSettings(logging=False))
        for path in PAGES:
            self.assertEqual(api.message(path), (404, "page not found"))
        self.assertEqual(api.clock.getDelayedCalls(), [])

    def test_they_have_no_version_and_no_other_names(self) -> None:
        for path in ("/v1.41/debug/vars", "/debug/", "/debug/pprof", "/debug/nope", "/debug"):
            self.assertEqual(self.page(path).status, 404, path)

    def test_vars(self) -> None:
        self.api.engine.register("SystemInfo", answering({}))
        self.api.ask("/info")
        assert self.api.resource.debug is not None
        self.api.resource.debug.variables["connections"] = lambda: 7
        answer = self.page("/debug/vars")
        self.assertEqual(answer.header(b"content-type"), b"application/json; charset=utf-8")
        found = json.loads(answer.body)
        self.assertEqual(found["jobs"]["SystemInfo"]["started"], 1)
        route = found["routes"]["GET /info"]
        self.assertEqual((route["answers"], route["errors"]), (1, 0))
        self.assertGreater(route["bytes"], 0)
        self.assertEqual(found["connections"], 7)
        self.assertGreater(found["memory"]["rss"], 0)
        self.assertIn("latency", found["reactor"])

    def test_index_links_every_page(self) -> None:
        answer = self.page("/debug/pprof/")
        self.assertEqual(answer.header(b"content-type"), b"text/html; charset=utf-8")
        for name in ("cmdline", "profile", "symbol", "heap", "goroutine", "threadcreate"):
            self.assertIn(b'<a href="' + name.encode(), answer.body)

    def test_cmdline(self) -> None:
        self.assertEqual(self.page("/debug/pprof/cmdline").body.decode().split("\0"), sys.argv)

    def test_profiles_in_both_forms(self) -> None:
        for name in ("goroutine", "heap", "threadcreate"):
            answer = self.page(f"/debug/pprof/{name}")
            self.assertEqual(answer.header(b"content-type"), b"application/octet-stream")
            self.assertGreater(len(gzip.decompress(answer.body)), 0)
            answer = self.page(f"/debug/pprof/{name}?debug=1")
            self.assertEqual(answer.header(b"content-type"), b"text/plain; charset=utf-8")
            self.assertTrue(answer.body.decode())
            answer = self.page(f"/debug/pprof/{name}?debug=0")
            self.assertEqual(answer.header(b"content-type"), b"application/octet-stream")

    def test_profile_takes_its_time(self) -> None:
        connection = self.api.connect()
        connection.send(get(b"/debug/pprof/profile?seconds=2"))
        self.assertEqual(connection.sent, b"")
        self.pass_time(self.api.clock, 1.9)
        self.assertEqual(connection.sent, b"")
        other = self.page("/debug/pprof/profile?seconds=1")
        self.assertEqual(other.status, 400)
        self.pass_time(self.api.clock, 0.3)
        (answer,) = answers(connection.sent)
        self.assertEqual(answer.status, 200)
        gzip.decompress(answer.body)

    def test_a_client_that_leaves_ends_its_profile(self) -> None:
        from tests.api.support import lost

        connection = self.api.connect()
        connection.send(get(b"/debug/pprof/profile?seconds=200"))
        connection.channel.connectionLost(lost())
        again = self.api.connect()
        again.send(get(b"/debug/pprof/profile?seconds=1"))
        self.pass_time(self.api.clock, 1.2)
        self.assertEqual(answers(again.sent)[0].status, 200)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_bad_lengths_of_profiles(self) -> None:
        for seconds in ("0", "-1", "301", "nan", "inf", "x"):
            answer = self.page(f"/debug/pprof/profile?seconds={seconds}")
            self.assertEqual(answer.status, 400, seconds)
            self.assertEqual(answer.header(b"content-type"), b"text/plain; charset=utf-8")

    def test_pages_of_a_web_page_are_refused(self) -> None:
        answer = self.api.ask("/debug/vars", b"Origin: https://evil.example")
        self.assertEqual(answer.status, 403)

    def test_pprof_posts_its_symbols(self) -> None:
        answer = self.api.ask("/debug/pprof/symbol", method="POST")
        self.assertEqual(answer.body, b"num_symbols: 1\n")

    def pass_time(self, clock: Clock, seconds: float) -> None:
        end: Any = clock.seconds() + seconds
        while clock.seconds() < end - 1e-9:
            clock.advance(min(0.05, end - clock.seconds()))
