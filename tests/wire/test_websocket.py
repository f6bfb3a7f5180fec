"""WebSockets from the server's side: handshake, frames in any split, control frames, ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, DeferredLock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.wire.duplex import CHUNK, StreamAborted
from dockerapi.wire.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    BadHandshake,
    FrameParser,
    ProtocolError,
    WebSocketDuplex,
    accept_headers,
    encode_frame,
    unmask,
)

MASK = b"\x12\xf4\x56\x00"
#: The handshake of RFC 6455, section 1.2.
HANDSHAKE = {
    b"Host": b"server.example.com",
    b"Upgrade": b"websocket",
    b"Connection": b"keep-alive, Upgrade",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version": b"13",
}


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return a client's frame."""
    return encode_frame(opcode, payload, mask=MASK, final=final)


class HandshakeTests(SynchronousTestCase):
    def test_the_key_of_the_rfc(self) -> None:
        accepted = dict(accept_headers(list(HANDSHAKE.items())))
        self.assertEqual(accepted[b"Sec-WebSocket-Accept"], b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    def test_names_and_tokens_in_any_case(self) -> None:
        fields = [(name.lower(), value) for name, value in HANDSHAKE.items()]
        fields[1] = (b"upgrade", b"WebSocket")
        self.assertEqual(len(accept_headers(fields)), 3)

    def test_what_lacks_a_part_is_refused(self) -> None:
        for name in (b"Upgrade", b"Connection", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"):
            for value in (None, b"", b"8", b"!!!!"):
                fields = {**HANDSHAKE, name: value}
                given = [(key, text) for key, text in fields.items() if text is not None]
                self.assertRaises(BadHandshake, accept_headers, given)


class FrameTests(SynchronousTestCase):
    def test_the_frames_of_the_rfc(self) -> None:
        self.assertEqual(encode_frame(TEXT, b"Hello"), b"\x81\x05Hello")
        masked = encode_frame(TEXT, b"Hello", mask=b"\x37\xfa\x21\x3d")
        self.assertEqual(masked, bytes.fromhex("818537fa213d7f9f4d5158"))
        self.assertEqual(encode_frame(BINARY, bytes(256))[:4], b"\x82\x7e\x01\x00")
        self.assertEqual(
            encode_frame(BINARY, bytes(65536))[:10], b"\x82\x7f" + bytes(5) + b"\1\0\0"
        )

    @given(st.binary(max_size=70), st.binary(min_size=4, max_size=4), st.integers(0, 70))
    def test_masking_twice_in_two_parts_gives_the_data(
        self, data: bytes, mask: bytes, cut: int
    ) -> None:
        masked = unmask(data, mask, 0)
        parts = unmask(masked[:cut], mask, 0) + unmask(masked[cut:], mask, min(cut, len(masked)))
        self.assertEqual(parts, data)

    @given(
        st.lists(st.tuples(st.booleans(), st.binary(max_size=200), st.binary(max_size=125))),
        st.lists(st.integers(1, 40), min_size=1),
    )
    def test_any_split_gives_the_same(
        self, messages: list[tuple[bool, bytes, bytes]], sizes: list[int]
    ) -> None:
        wire = bytearray()
        for fragmented, payload, ping in messages:
            if fragmented:
                wire += frame(TEXT, payload[:9], final=False) + frame(PING, ping)
                wire += frame(CONTINUATION, payload[9:])
            else:
                wire += frame(BINARY, payload) + frame(PING, ping)
        parser, data, pings = FrameParser(), b"", []
        turn = 0
        while wire:
            size = sizes[turn % len(sizes)]
            turn += 1
            for opcode, piece in parser.feed(bytes(wire[:size])):
                if opcode == BINARY:
                    data += piece
                else:
                    pings.append(piece)
            del wire[:size]
        self.assertEqual(data, b"".join(payload for _, payload, _ in messages))
        self.assertEqual(pings, [ping for _, _, ping in messages])

    @given(st.lists(st.binary(max_size=60)))
    def test_garbage_is_at_most_a_protocol_error(self, pieces: list[bytes]) -> None:
        parser = FrameParser()
        try:
            for piece in pieces:
                for opcode, payload in parser.feed(piece):
                    self.assertIn(opcode, (BINARY, CLOSE, PING, PONG))
                    self.assertLessEqual(len(payload), sum(map(len, pieces)))
        except ProtocolError as error:
            self.assertTrue(str(error))

    def test_what_breaks_the_protocol(self) -> None:
        for wire in (
            encode_frame(BINARY, b"not masked"),
            b"\xc2\x80" + MASK,
            frame(3),
            frame(PING, b"in parts", final=False),
            frame(PING, bytes(126)),
            frame(CONTINUATION, b"of nothing"),
            frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
            b"\x82\xff\xff" + bytes(7) + MASK,
        ):
            self.assertRaises(ProtocolError, lambda wire=wire: list(FrameParser().feed(wire)))

    def test_a_long_frame_is_not_collected(self) -> None:
        parser = FrameParser()
        wire = frame(BINARY, bytes(1000))
        pieces = [piece for byte in wire for _, piece in parser.feed(bytes((byte,)))]
        self.assertEqual(pieces, [b"\0"] * 1000)


class Wire:
    """The client's side: what it sends, and what it got. `stall` makes the next write wait."""

    def __init__(self, *sent: bytes) -> None:
        self.incoming = list(sent)
        self.got: list[bytes] = []
        self.closed = False
        self.aborted = ""
        self.stall: Deferred[None] | None = None
        self.writing = False

    async def read(self, limit: int = CHUNK) -> bytes:
        return self.incoming.pop(0) if self.incoming else b""

    async def write(self, data: bytes) -> None:
        if self.writing:
            raise RuntimeError("only one write at a time")
        self.got.append(data)
        if self.stall is not None:
            self.writing = True
            stall, self.stall = self.stall, None
            await stall
            self.writing = False

    async def close_write(self) -> None:
        self.closed = True

    def abort(self, reason: str) -> None:
        self.aborted = reason


def close_frame(code: int) -> bytes:
    """Return a server's close frame."""
    return encode_frame(CLOSE, code.to_bytes(2, "big"))


class DuplexTests(SynchronousTestCase):
    def open(self, *sent: bytes) -> WebSocketDuplex:
        self.wire = Wire(*sent)
        return WebSocketDuplex(self.wire, DeferredLock())

    def run_(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_reads_text_and_binary_in_bounds(self) -> None:
        socket = self.open(frame(TEXT, b"hello "), frame(BINARY, b"world"))
        self.assertEqual(self.run_(socket.read(4)), b"hell")
        self.assertEqual(self.run_(socket.read()), b"o ")
        self.assertEqual(self.run_(socket.read()), b"world")
        self.assertEqual(self.run_(socket.read()), b"")
        self.assertEqual(self.run_(socket.read()), b"")

    def test_writes_one_frame_each(self) -> None:
        socket = self.open()
        self.run_(socket.write(b"a"))
        self.run_(socket.write(b""))
        self.run_(socket.write(b"bc"))
        self.assertEqual(self.wire.got, [b"\x82\x01a", b"\x82\x02bc"])

    def test_answers_pings_and_passes_pongs_over(self) -> None:
        socket = self.open(frame(PONG, b"?") + frame(PING, b"there?") + frame(TEXT, b"x"))
        self.assertEqual(self.run_(socket.read()), b"x")
        self.assertEqual(self.wire.got, [encode_frame(PONG, b"there?")])

    def test_a_ping_during_a_write_is_answered_behind_it(self) -> None:
        socket = self.open(frame(PING, b"!") + frame(TEXT, b"x"))
        stall = self.wire.stall = Deferred()
        writing = Deferred.fromCoroutine(socket.write(b"long"))
        reading = Deferred.fromCoroutine(socket.read())
        self.assertNoResult(writing)
        self.assertNoResult(reading)
        stall.callback(None)
        self.successResultOf(writing)
        self.assertEqual(self.successResultOf(reading), b"x")
        self.assertEqual(self.wire.got, [b"\x82\x04long", encode_frame(PONG, b"!")])

    def test_a_clients_goodbye_ends_the_input_and_is_answered(self) -> None:
        for payload, answered in (
            (b"", 1000),
            (b"\x03\xe9going", 1001),
            (b"\x0f\xa0", 4000),
            (b"\x03", 1002),
            (b"\x03\xed", 1002),
            (b"\x00\x01", 1002),
        ):
            socket = self.open(frame(TEXT, b"x") + frame(CLOSE, payload) + frame(TEXT, b"late"))
            self.assertEqual(self.run_(socket.read()), b"x")
            self.assertEqual(self.run_(socket.read()), b"")
            self.assertEqual(self.wire.got, [close_frame(answered)])
            writing = Deferred.fromCoroutine(socket.write(b"y"))
            self.failureResultOf(writing, StreamAborted)

    def test_our_goodbye_is_said_once(self) -> None:
        socket = self.open(frame(CLOSE))
        self.run_(socket.close_write())
        self.assertTrue(self.wire.closed)
        self.assertEqual(self.run_(socket.read()), b"")
        self.run_(socket.close_write())
        self.assertEqual(self.wire.got, [close_frame(1000)])

    def test_a_broken_protocol_aborts(self) -> None:
        socket = self.open(encode_frame(TEXT, b"not masked"))
        reading = Deferred.fromCoroutine(socket.read())
        self.failureResultOf(reading, StreamAborted)
        self.assertEqual(self.wire.got, [close_frame(1002)])
        self.assertIn("not masked", self.wire.aborted)

    def test_abort(self) -> None:
        self.open().abort("no more")
        self.assertEqual(self.wire.aborted, "no more")
