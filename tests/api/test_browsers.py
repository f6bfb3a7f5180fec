"""No web page reaches the API but those that may."""

from __future__ import annotations

import socket

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.api.settings import ApiSettings
from tests.api.support import TCP, TLS, VERIFIED, Api, answering
from tests.http import support
from tests.http.support import answers

PAGE = b"Origin: https://app.example"
METHODS = b"HEAD, GET, POST, DELETE, PUT, OPTIONS"


def api_with(**settings: object) -> Api:
    """Return an API whose `/info` answers."""
    api = Api(ApiSettings(**settings))  # type: ignore[arg-type]
    api.engine.register("SystemInfo", answering({}))
    return api


def ask(api: Api, host: str, *headers: bytes, peer: object = TCP) -> support.Answer:
    """Ask for `/info` by the name `host`."""
    connection = api.connect(peer)  # type: ignore[arg-type]
    lines = [b"GET /info HTTP/1.1", b"Host: " + host.encode(), *headers, b"", b""]
    connection.send(b"\r\n".join(lines))
    return answers(connection.sent)[0]


class HostTests(SynchronousTestCase):
    def test_own_names_pass(self) -> None:
        api = api_with()
        for host in (
            "localhost",
            "LOCALHOST:2375",
            "127.0.0.1:2375",
            "192.168.0.7",
            "[::1]:2375",
            "[fe80::1]",
            socket.gethostname(),
        ):
            self.assertEqual(ask(api, host).status, 200, host)

    def test_other_names_do_not(self) -> None:
        api = api_with()
        for host in (
            "evil.example",
            "evil.example:2375",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example:127.0.0.1",
            "999.1.1.1.evil",
            "[evil]",
            "",
        ):
            answer = ask(api, host)
            self.assertEqual(answer.status, 403, host)
            self.assertEqual(answer.header(b"content-type"), b"application/json")
            self.assertIsNone(answer.header(b"access-control-allow-origin"))

    def test_no_host_is_no_browser(self) -> None:
        connection = api_with().connect(TCP)
        connection.send(b"GET /info HTTP/1.0\r\n\r\n")
        self.assertEqual(answers(connection.sent)[0].status, 200)

    def test_allowed_hosts(self) -> None:
        api = api_with(allowed_hosts=("Docker.Example",))
        self.assertEqual(ask(api, "docker.example:2375").status, 200)
        self.assertEqual(ask(api, "other.example").status, 403)
        self.assertEqual(ask(api_with(allowed_hosts=("*",)), "other.example").status, 200)

    def test_a_client_without_a_host_is_no_browser(self) -> None:
        connection = api_with().connect(TCP)
        connection.send(b"GET /info HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 OK\r\n", connection.sent)
        connection = api_with().connect(TCP)
        connection.send(b"GET /info HTTP/1.0\r\nOrigin: null\r\n\r\n")
        self.assertIn(b" 403 Forbidden\r\n", connection.sent)

    def test_where_hosts_are_not_looked_at(self) -> None:
        api = api_with()
        unix = None
        for peer, status in ((unix, 200), (VERIFIED, 200), (TLS, 403)):
            self.assertEqual(ask(api, "%2Fvar%2Frun", peer=peer).status, status)


class OriginTests(SynchronousTestCase):
    def test_pages_are_refused_everywhere(self) -> None:
        api = api_with()
        for peer in (None, TCP, TLS, VERIFIED):
            for origin in (PAGE, b"Origin: null", b"Origin: file://", b"Origin: http://["):
                answer = ask(api, "localhost:2375", origin, peer=peer)
                self.assertEqual(answer.status, 403)
                self.assertIsNone(answer.header(b"access-control-allow-origin"))

    def test_preflights_too(self) -> None:
        answer = api_with().ask("/info", PAGE, method="OPTIONS")
        self.assertEqual(answer.status, 403)

    def test_websockets_too(self) -> None:
        api = api_with()
        api.everything("ContainerAttachWebsocket")
        answer = api.ask(
            "/containers/x/attach/ws",
            PAGE,
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        )
        self.assertEqual((answer.status, api.jobs), (403, []))

    def test_the_servers_own_origin_passes(self) -> None:
        self.assertEqual(
            ask(api_with(), "localhost:2375", b"Origin: http://localhost:2375").status, 200
        )
        self.assertEqual(ask(api_with(), "localhost", b"Origin: http://localhost:80").status, 403)

    def test_a_websocket_on_a_unix_socket_names_no_host(self) -> None:
        for peer, status in ((None, 200), (TCP, 403), (TLS, 403)):
            for host in ("", "127.0.0.1"):
                answer = ask(api_with(), host, b"Origin: http://localhost", peer=peer)
                self.assertEqual(answer.status, status, (peer, host))
        self.assertEqual(ask(api_with(), "", b"Origin: http://localhost:81").status, 403)


class CorsTests(SynchronousTestCase):
    def test_off(self) -> None:
        answer = api_with().ask("/info")
        names = {name for name, _ in answer.headers}
        self.assertFalse({name for name in names if name.startswith(b"access-control")})
        self.assertNotIn(b"vary", names)

    def test_a_list_of_origins(self) -> None:
        api = api_with(cors_origins=("https://app.example", "https://b.example"))
        answer = ask(api, "localhost", PAGE)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header(b"access-control-allow-origin"), b"https://app.example")
        self.assertEqual(answer.header(b"access-control-allow-methods"), METHODS)
        self.assertEqual(
            answer.header(b"access-control-allow-headers"),
            b"Origin, X-Requested-With, Content-Type, Accept, X-Registry-Auth",
        )
        self.assertEqual(answer.header(b"vary"), b"Origin")
        other = ask(api, "localhost", b"Origin: https://c.example")
        self.assertEqual(other.status, 403)
        self.assertIsNone(other.header(b"access-control-allow-origin"))
        self.assertEqual(ask(api, "localhost").header(b"vary"), b"Origin")

    def test_all_origins(self) -> None:
        answer = ask(api_with(cors_origins=("*",)), "localhost", PAGE)
        self.assertEqual(answer.header(b"access-control-allow-origin"), b"*")

    def test_a_preflight(self) -> None:
        api = api_with(cors_origins=("https://app.example",))
        answer = api.ask("/v1.41/containers/create", PAGE, method="OPTIONS")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(answer.header(b"access-control-allow-origin"), b"https://app.example")

    def test_errors_have_them_too(self) -> None:
        api = api_with(cors_origins=("https://app.example",))
        for path in ("/nope", "/version", "/v9.9/info", "/events?%zz"):
            answer = api.ask(path, PAGE)
            self.assertGreaterEqual(answer.status, 400)
            self.assertEqual(
                answer.header(b"access-control-allow-origin"), b"https://app.example", path
            )

    def test_the_host_is_checked_all_the_same(self) -> None:
        api = api_with(cors_origins=("*",))
        self.assertEqual(ask(api, "evil.example", PAGE).status, 403)
