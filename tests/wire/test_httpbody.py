"""The framing of bodies at the client's end."""

from __future__ import annotations

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.wire.httpbody import (
    LAST_CHUNK,
    LINE_LIMIT,
    BadBody,
    BodyDecoder,
    ChunkedDecoder,
    EndlessDecoder,
    LengthDecoder,
    answer_decoder,
    chunk_head,
)
from dockerapi.wire.httphead import parse_answer_head


def decoder(
    *lines: bytes, method: bytes = b"GET", first: bytes = b"HTTP/1.1 200 OK"
) -> BodyDecoder:
    return answer_decoder(method, parse_answer_head(b"\r\n".join((first, *lines))))


def _outcome(*pieces: bytes) -> object:
    """Return what reading `pieces` in chunks comes to: content, whether all, the rest; or no."""
    chunked = ChunkedDecoder()
    content = rest = b""
    try:
        for piece in pieces:
            if chunked.finished:
                rest += piece
            else:
                content += chunked.feed(piece)
    except BadBody:
        return "refused"
    return content, chunked.finished, chunked.rest + rest


class ChunkedTests(SynchronousTestCase):
    """Bodies in chunks."""

    def test_whole(self) -> None:
        """Chunks of one read become one piece; extensions, trailers and what follows do not."""
        chunked = ChunkedDecoder()
        wire = b"3;a=b\r\nabc\r\n00A \r\n0123456789\r\n0\r\nX: y\r\n\r\nHTTP"
        self.assertEqual(chunked.feed(wire), b"abc0123456789")
        self.assertTrue(chunked.finished)
        self.assertEqual(chunked.rest, b"HTTP")

    def test_part_of_a_chunk(self) -> None:
        """A part of a chunk is passed on when it comes."""
        chunked = ChunkedDecoder()
        self.assertEqual(chunked.feed(b"8\r\nabc"), b"abc")
        self.assertEqual(chunked.feed(b"defgh\r"), b"defgh")
        self.assertEqual(chunked.feed(b"\n0\r\n\r"), b"")
        self.assertFalse(chunked.finished)
        self.assertEqual(chunked.feed(b"\nx"), b"")
        self.assertEqual((chunked.finished, chunked.rest), (True, b"x"))

    def test_malformed(self) -> None:
        """Framing that can be read in two ways is refused."""
        for wire in (
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\na",
            b"0x1\r\na",
            b"1_0\r\n",
            b" 1\r\na",
            b"1\na\n",
            b"f" * 16 + b"\r\n",
            b"1\r\nab\r\n",
            b"1\r\naX",
            b"1\r\na\rX",
            b"1" * (LINE_LIMIT + 1),
            b"1;" + b"x" * LINE_LIMIT + b"\r\n",
            b"0\r\n" + b"X: y\r\n" * LINE_LIMIT,
        ):
            with self.assertRaises(BadBody, msg=repr(wire[:30])):
                ChunkedDecoder().feed(wire + b"\r\n")

    @given(
        st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.binary(max_size=9), st.data()
    )
    def test_any_split(self, chunks: list[bytes], rest: bytes, data: st.DataObject) -> None:
        """However a body comes in pieces, it is the same, and as h11 reads it."""
        wire = b"".join(chunk_head(len(chunk)) + chunk + b"\r\n" for chunk in chunks) + LAST_CHUNK
        body, chunked, at = b"", ChunkedDecoder(), 0
        whole = wire + rest
        while at < len(whole):
            end = data.draw(st.integers(at + 1, len(whole)))
            body += chunked.feed(whole[at:end])
            at = end
        self.assertEqual(body, b"".join(chunks))
        self.assertEqual((chunked.finished, chunked.rest), (True, rest))
        oracle = h11.Connection(h11.CLIENT)
        oracle.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        oracle.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
        events = iter(oracle.next_event, h11.NEED_DATA)
        theirs = b""
        for event in events:
            if isinstance(event, h11.Data):
                theirs += bytes(event.data)
            if isinstance(event, h11.EndOfMessage):
                break
        self.assertEqual(theirs, body)

    @given(st.binary(max_size=100) | st.text("0123a;\r\n ", max_size=60).map(str.encode))
    def test_garbage(self, data: bytes) -> None:
        """Whatever comes is a body, not complete, or refused: alike at once and byte by byte."""
        pieces = [data[at : at + 1] for at in range(len(data))]
        self.assertEqual(_outcome(data), _outcome(*pieces))


class LengthTests(SynchronousTestCase):
    """Bodies with a length."""

    def test_in_pieces(self) -> None:
        """A body ends at its length; what follows is kept apart."""
        body = LengthDecoder(5)
        self.assertEqual(body.feed(b"abc"), b"abc")
        self.assertFalse(body.finished)
        self.assertEqual(body.feed(b"defg"), b"de")
        self.assertEqual(body.feed(b"h"), b"")
        self.assertEqual((body.finished, body.rest), (True, b"fgh"))


class AnswerTests(SynchronousTestCase):
    """Which framing an answer has (RFC 9112 §6.3)."""

    def test_without_a_body(self) -> None:
        """HEAD, 1xx, 204 and 304 have none, whatever their headers say."""
        length = b"Content-Length: 7"
        self.assertTrue(decoder(length, method=b"HEAD").finished)
        for status in (b"100", b"204", b"304"):
            self.assertTrue(decoder(length, first=b"HTTP/1.1 " + status).finished)

    def test_framings(self) -> None:
        """Chunked, with a length, or to the connection's end."""
        self.assertIsInstance(decoder(b"transfer-encoding: Chunked"), ChunkedDecoder)
        self.assertIsInstance(decoder(b"Content-Length: 7"), LengthDecoder)
        self.assertIsInstance(decoder(b"Content-Length: 7", b"content-length: 7"), LengthDecoder)
        self.assertIsInstance(decoder(), EndlessDecoder)

    def test_refused(self) -> None:
        """Two framings, unknown codings and bad lengths are refused."""
        for lines in (
            (b"Transfer-Encoding: chunked", b"Content-Length: 7"),
            (b"Transfer-Encoding: gzip, chunked",),
            (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding: identity",),
            (b"Content-Length: 7", b"Content-Length: 8"),
            (b"Content-Length: 7, 7",),
            (b"Content-Length: -1",),
            (b"Content-Length: +1",),
            (b"Content-Length: ",),
            (b"Content-Length: " + b"9" * 19,),
        ):
            with self.assertRaises(BadBody, msg=repr(lines)):
                decoder(*lines)
        with self.assertRaises(BadBody):
            decoder(b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK")
