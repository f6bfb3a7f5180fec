"""Heads at the client's end: what is sent and what is read."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.wire.httphead import (
    HEAD_LIMIT,
    BadHead,
    HeadReader,
    end_to_end,
    parse_answer_head,
    request_head,
    tokens,
    upgrades_to,
)

NAMES = st.from_regex(rb"\A[A-Za-z][A-Za-z0-9-]{0,15}\Z")
VALUES = st.from_regex(rb"\A[!-~]([ -~]{0,20}[!-~])?\Z")


def _outcome(*pieces: bytes) -> object:
    """Return what reading `pieces` comes to: the head and what follows it, None, or "refused"."""
    reader = HeadReader()
    rest = b""
    try:
        for piece in pieces:
            if reader.head is None:
                reader.feed(piece)
            else:
                rest += piece
    except BadHead:
        return "refused"
    return None if reader.head is None else (reader.head, reader.rest + rest)


class ReadTests(SynchronousTestCase):
    """Answers' heads."""

    def test_parts(self) -> None:
        """A head is read into its version, status, reason and headers, names as sent."""
        head = parse_answer_head(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: a/b\r\nX:  y z \t\r\nE:")
        self.assertEqual((head.minor, head.status, head.reason), (1, 101, b"UPGRADED"))
        self.assertEqual(head.headers, [(b"Content-Type", b"a/b"), (b"X", b"y z"), (b"E", b"")])

    def test_without_reason(self) -> None:
        """A reason may be empty, or missing with its space."""
        self.assertEqual(parse_answer_head(b"HTTP/1.1 204").reason, b"")
        self.assertEqual(parse_answer_head(b"HTTP/1.0 204 ").reason, b"")

    def test_malformed(self) -> None:
        """What HTTP/1.1 does not allow is refused."""
        for data in (
            b"",
            b"HTTP/2 200 OK",
            b"HTTP/1.2 200 OK",
            b"http/1.1 200 OK",
            b"HTTP/1.1 2000 OK",
            b"HTTP/1.1 099 OK",
            b"HTTP/1.1  200 OK",
            b"HTTP/1.1 200 O\nK",
            b"HTTP/1.1 200 OK\r\nno colon",
            b"HTTP/1.1 200 OK\r\n: empty name",
            b"HTTP/1.1 200 OK\r\nspace : x",
            b"HTTP/1.1 200 OK\r\n folded: x",
            b"HTTP/1.1 200 OK\r\nx: a\nb",
            b"HTTP/1.1 200 OK\r\nx: a\0b",
        ):
            with self.assertRaises(BadHead, msg=repr(data)):
                parse_answer_head(data)

    def test_too_long(self) -> None:
        """A head without end is refused while it comes, and one that is too long when complete."""
        reader = HeadReader()
        reader.feed(b"HTTP/1.1 200 OK\r\nx: ")
        with self.assertRaises(BadHead):
            for _ in range(HEAD_LIMIT // 1000 + 1):
                reader.feed(b"y" * 1000)
        with self.assertRaises(BadHead):
            HeadReader().feed(b"HTTP/1.1 200 OK\r\nx: " + b"y" * HEAD_LIMIT + b"\r\n\r\n")

    def test_keeps_alive(self) -> None:
        """HTTP/1.1 keeps a connection unless told otherwise, 1.0 only when told."""
        for text, kept in (
            (b"HTTP/1.1 200 OK", True),
            (b"HTTP/1.1 200 OK\r\nConnection: x, Close", False),
            (b"HTTP/1.0 200 OK", False),
            (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive", True),
        ):
            self.assertEqual(parse_answer_head(text).keeps_alive(), kept, text)

    @given(st.lists(st.tuples(NAMES, VALUES), max_size=5), st.binary(max_size=40), st.data())
    def test_any_split(
        self, headers: list[tuple[bytes, bytes]], rest: bytes, data: st.DataObject
    ) -> None:
        """However a head comes in pieces, it is the same, and what follows it is kept."""
        lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        wire = b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n" + rest
        reader, at, after = HeadReader(), 0, b""
        while at < len(wire):
            end = data.draw(st.integers(at + 1, len(wire)))
            if reader.head is not None:
                after += wire[at:end]
            else:
                reader.feed(wire[at:end])
            at = end
        assert reader.head is not None
        self.assertEqual(reader.head.headers, headers)
        self.assertEqual(reader.rest + after, rest)

    @given(st.binary(max_size=200) | st.binary(max_size=100).map(b"HTTP/1.1 200 OK\r\n".__add__))
    def test_garbage(self, data: bytes) -> None:
        """Whatever comes is a head, not complete, or refused: alike at once and byte by byte."""
        pieces = [data[at : at + 1] for at in range(len(data))]
        self.assertEqual(_outcome(data), _outcome(*pieces))

    @given(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    def test_as_h11_reads_it(self, headers: list[tuple[bytes, bytes]]) -> None:
        """What h11 takes for an answer's head is read alike."""
        lines = b"".join(b"X-%b: %b\r\n" % pair for pair in headers)
        wire = b"HTTP/1.1 200 Fine\r\n" + lines
        oracle = h11.Connection(h11.CLIENT)
        oracle.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        oracle.receive_data(wire + b"\r\n")
        event = oracle.next_event()
        assert isinstance(event, h11.Response)
        head = parse_answer_head(wire.removesuffix(b"\r\n"))
        self.assertEqual(list(event.headers.raw_items()), head.headers)
        self.assertEqual((event.status_code, event.reason), (head.status, head.reason))


class WriteTests(SynchronousTestCase):
    """Requests' heads."""

    def test_head(self) -> None:
        """The head is as HTTP/1.1 wants it."""
        self.assertEqual(
            request_head(b"GET", b"/v1.41/x?y=%20", [(b"Host", b"h"), (b"X", b"")]),
            b"GET /v1.41/x?y=%20 HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n",
        )

    def test_nothing_is_smuggled(self) -> None:
        """Nothing in a method, target or header can make a second line or request."""
        for method, target, headers in (
            (b"GET x", b"/", []),
            (b"GET", b"/ HTTP/1.1", []),
            (b"GET", b"/\r\nX: y", []),
            (b"GET", b"", []),
            (b"GET", b"/", [(b"X y", b"z")]),
            (b"GET", b"/", [(b"X:", b"z")]),
            (b"GET", b"/", [(b"X", b"z\r\nY: a")]),
            (b"GET", b"/", [(b"X", b"z\n")]),
        ):
            with self.assertRaises(BadHead):
                request_head(method, target, headers)

    @given(st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20))
    def test_one_request(self, target: bytes, name: bytes, value: bytes) -> None:
        """What is not refused is exactly one head of two headers."""
        try:
            wire = request_head(b"GET", target, [(b"Host", b"h"), (name, value)])
        except BadHead:
            return
        self.assertEqual(wire.count(b"\n"), 4)
        self.assertEqual(wire.find(b"\r\n\r\n"), len(wire) - 4)


class ConnectionTests(SynchronousTestCase):
    """Headers that belong to one connection."""

    def test_end_to_end(self) -> None:
        """Those of RFC 9110 §7.6.1 and those that Connection names do not pass; others do."""
        headers = [
            (b"Connection", b"X-Mine, upgrade"),
            (b"x-mine", b"1"),
            (b"Keep-Alive", b"timeout=5"),
            (b"Transfer-Encoding", b"chunked"),
            (b"TE", b"trailers"),
            (b"Trailer", b"X"),
            (b"Upgrade", b"tcp"),
            (b"Proxy-Connection", b"close"),
            (b"X-Registry-Auth", b"e30="),
        ]
        self.assertEqual(end_to_end(headers), [(b"X-Registry-Auth", b"e30=")])

    def test_upgrades_to(self) -> None:
        """An upgrade counts only when Connection names it."""
        self.assertEqual(upgrades_to([(b"connection", b"Upgrade"), (b"upgrade", b"tcp")]), b"tcp")
        self.assertIsNone(upgrades_to([(b"Upgrade", b"tcp")]))
        self.assertIsNone(upgrades_to([(b"Connection", b"Upgrade")]))

    def test_tokens(self) -> None:
        """Elements are split at commas, in lower case, without the empty ones."""
        self.assertEqual(tokens([b"a, B,,", b" c "]), {b"a", b"b", b"c"})
