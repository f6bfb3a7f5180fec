import string

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.http.head import Head, HeadBuffer, Refused, parse
from dockerapi.http.limits import Limits
from tests.http.support import get

REFUSED = {
    "both lengths": get(b"/", b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "gzip, chunked": get(b"/", b"Transfer-Encoding: gzip, chunked"),
    "identity": get(b"/", b"Transfer-Encoding: identity"),
    "two encodings": get(b"/", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "chunked on 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": get(b"/", b"Content-Length: 3", b"Content-Length: 3"),
    "length list": get(b"/", b"Content-Length: 3, 3"),
    "signed length": get(b"/", b"Content-Length: +3"),
    "hex length": get(b"/", b"Content-Length: 0x3"),
    "huge length": get(b"/", b"Content-Length: " + b"9" * 30),
    "empty length": get(b"/", b"Content-Length:"),
    "folded": get(b"/", b"A: b", b" c"),
    "bare LF": b"GET / HTTP/1.1\nHost: d\n\n",
    "one bare LF": b"GET / HTTP/1.1\r\nHost: d\nA: b\r\n\r\n",
    "bare CR": get(b"/", b"A: b\rc"),
    "space before colon": get(b"/", b"A : b"),
    "no colon": get(b"/", b"A"),
    "no name": get(b"/", b": b"),
    "0.9": b"GET /\r\n\r\n",
    "2.0 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "2.0": b"GET / HTTP/2.0\r\nHost: d\r\n\r\n",
    "1.2": b"GET / HTTP/1.2\r\nHost: d\r\n\r\n",
    "rtsp": b"GET / RTSP/1.0\r\nHost: d\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two hosts": get(b"/", b"Host: e"),
    "NUL in value": get(b"/", b"A: \0"),
    "NUL in target": get(b"/\0"),
    "control in value": get(b"/", b"A: \x01"),
    "space in target": get(b"/a b"),
    "two spaces": get(b" /"),
    "8-bit target": get(b"/\xff"),
    "relative target": get(b"x"),
    "star": get(b"*"),
    "other host": get(b"http://other/"),
    "lower-case method": get(method=b"get"),
    "unknown method": get(method=b"FOO"),
    "connect": get(b"docker:80", method=b"CONNECT"),
    "empty line first": b"\r\n" + get(),
    "tls hello without a line's end": b"\x16\x03\x01\x02",
    "first byte": b"\xff",
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
}


def read(data: bytes, sizes: list[int] | None = None, limits: Limits | None = None) -> object:
    """Feed `data` in parts; return heads as tuples, ending with a refusal's status."""
    buffer = HeadBuffer(limits or Limits())
    found: list[object] = []
    at = 0
    sizes = list(sizes or [])
    try:
        while at < len(data):
            size = sizes.pop() if sizes else len(data)
            buffer.feed(data[at : at + size])
            at += size
            while (head := buffer.next()) is not None:
                found.append(key(parse(head)))
    except Refused as refusal:
        return [*found, (refusal.status, refusal.message)]
    return found, buffer.take_all()


def key(head: Head) -> tuple[object, ...]:
    return (head.method, head.target, head.version, tuple(head.headers), head.length)


class HeadTests(SynchronousTestCase):
    def test_fields(self) -> None:
        head = parse(get(b"/a?b=c", b"X-One:  1 \t", b"x-one: 2", b"Content-Length: 12"))
        self.assertEqual((head.method, head.target, head.version), (b"GET", b"/a?b=c", (1, 1)))
        self.assertEqual(head.headers[1:3], [(b"X-One", b"1"), (b"x-one", b"2")])
        self.assertEqual((head.fields[b"x-one"], head.length, head.keep_alive), (b"1", 12, True))

    def test_kept_or_not(self) -> None:
        old = b"GET / HTTP/1.0\r\n%b\r\n"
        self.assertFalse(parse(old % b"").keep_alive)
        self.assertTrue(parse(old % b"Connection: Keep-Alive\r\n").keep_alive)
        self.assertFalse(parse(get(b"/", b"Connection: x, Close")).keep_alive)
        self.assertFalse(parse(get(b"/", b"Connection: x", b"Connection: close")).keep_alive)

    def test_upgrade_with_body(self) -> None:
        head = parse(
            get(b"/", b"Upgrade: tcp", b"Connection: Upgrade", b"Content-Length: 2", method=b"POST")
        )
        self.assertEqual(head.length, 2)

    def test_absolute_target(self) -> None:
        self.assertEqual(parse(get(b"http://docker/a?b")).target, b"/a?b")
        self.assertEqual(parse(get(b"http://docker")).target, b"/")
        self.assertEqual(parse(get(b"*", method=b"OPTIONS")).target, b"*")

    def test_refused(self) -> None:
        for name, data in REFUSED.items():
            result = read(data)
            self.assertIsInstance(result, list, name)
            assert isinstance(result, list)
            self.assertEqual(result[-1][0], 400, name)
            self.assertEqual(read(data, [1] * len(data)), result, name)

    def test_expectation(self) -> None:
        self.assertTrue(parse(get(b"/", b"Expect: 100-Continue", b"Content-Length: 2")).expects)
        self.assertFalse(parse(get(b"/", b"Expect: 100-continue")).expects)
        self.assertRaises(Refused, parse, get(b"/", b"Expect: 200-ok"))

    def test_limits(self) -> None:
        limits = Limits(line=100, head=400, headers=5)
        for data, status in (
            (get(b"/" + b"a" * 100), 414),
            (b"a" * 101, 414),
            (get(b"/", b"A: " + b"a" * 100), 431),
            (get(b"/", *[b"A: b"] * 5), 431),
            (get(b"/", *[b"A: " + b"b" * 90] * 4), 431),
        ):
            result = read(data, limits=limits)
            assert isinstance(result, list)
            self.assertEqual(result[-1][0], status, data)
            self.assertEqual(read(data, [1] * len(data), limits), result)
        self.assertIsInstance(read(get(b"/", *[b"A: b"] * 4), limits=limits), tuple)


TOKEN = st.text(string.ascii_letters + "-_", min_size=1, max_size=8).map(str.encode)
VALUE = st.text(string.printable[:94] + " \t", max_size=12).map(lambda t: t.strip().encode())
LINE = st.one_of(
    st.tuples(TOKEN, VALUE).map(lambda f: f[0] + b": " + f[1]),
    st.sampled_from(
        (
            b"Host: d",
            b"Content-Length: 3",
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            b"Upgrade: tcp",
            b"Expect: 100-continue",
        )
    ),
    st.binary(max_size=12),
)
REQUEST = st.builds(
    lambda method, target, version, lines, end: (
        b" ".join((method, target, version)) + end + b"".join(line + end for line in lines) + end
    ),
    st.sampled_from((b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS")),
    st.one_of(st.just(b"/"), VALUE.map(lambda v: b"/" + v), st.binary(max_size=8)),
    st.sampled_from((b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0", b"")),
    st.lists(LINE, max_size=6).map(lambda lines: [b"Host: d", *lines]),
    st.sampled_from((b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r")),
)
SMALL = Limits(line=60, head=150, headers=5)


class HeadPropertyTests(SynchronousTestCase):
    @given(st.lists(st.one_of(REQUEST, st.binary(max_size=40)), max_size=3), st.data())
    @settings(max_examples=300, deadline=None)
    def test_any_split_gives_the_same(self, parts: list[bytes], data: st.DataObject) -> None:
        stream = b"".join(parts)
        sizes = data.draw(st.lists(st.integers(1, 30), max_size=40))
        for limits in (Limits(), SMALL):
            whole = read(stream, limits=limits)
            self.assertEqual(read(stream, sizes, limits), whole)
            self.assertEqual(read(stream, [1] * len(stream), limits), whole)

    @given(REQUEST)
    @settings(max_examples=500, deadline=None)
    def test_h11_agrees_or_is_more_lenient(self, data: bytes) -> None:
        """Whatever we serve, h11 reads in the same way.

        h11 serves besides: bare LF, folded lines, two equal lengths, chunked or missing host on
        1.0, other methods, targets without a slash, CONNECT, expectations, any HTTP/1.x.
        """
        ours = read(data)
        if not isinstance(ours, tuple) or not ours[0]:
            return
        method, target, version, headers, length = ours[0][0]
        oracle = h11.Connection(h11.SERVER)
        oracle.receive_data(data)
        theirs = oracle.next_event()
        self.assertIsInstance(theirs, h11.Request)
        assert isinstance(theirs, h11.Request)
        self.assertEqual(theirs.method, method)
        self.assertEqual(theirs.http_version, b"%d.%d" % version)
        self.assertEqual([(n, v) for n, v in theirs.headers], [(n.lower(), v) for n, v in headers])
        if theirs.target.startswith(b"/"):
            self.assertEqual(theirs.target, target)
        framing = dict(theirs.headers)
        expected = (
            None if b"transfer-encoding" in framing else int(framing.get(b"content-length", 0))
        )
        self.assertEqual(length, expected)
