import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.http.framing import LAST_CHUNK, ChunkedDecoder, Decoder, LengthDecoder, chunk
from dockerapi.http.head import Refused
from dockerapi.http.limits import Limits

LIMITS = Limits(chunk_line=20, trailers=40)


def decode(decoder: Decoder, data: bytes, size: int) -> tuple[bytes, bytes | None] | str:
    """Feed in parts of `size`; return the payload and what follows, or what is wrong."""
    body = b""
    for at in range(0, len(data), size):
        try:
            payload, rest = decoder.feed(data[at : at + size])
        except Refused as refusal:
            return refusal.message
        body += payload
        if rest is not None:
            return body, rest + data[at + size :]
    return body, None


class FramingTests(SynchronousTestCase):
    def test_length(self) -> None:
        for size in (1, 2, 100):
            self.assertEqual(decode(LengthDecoder(3), b"abcde", size), (b"abc", b"de"))
            self.assertEqual(decode(LengthDecoder(9), b"abcde", size), (b"abcde", None))

    def test_extensions_and_trailers_are_dropped(self) -> None:
        data = b"3;a=b\r\nabc\r\nA \r\n0123456789\r\n0\r\nX: y\r\n\r\nraw"
        for size in range(1, len(data) + 1):
            result = decode(ChunkedDecoder(LIMITS), data, size)
            self.assertEqual(result, (b"abc0123456789", b"raw"))

    def test_broken(self) -> None:
        for data in (
            b"x\r\n",
            b"\r\n",
            b"-1\r\n",
            b"+1\r\na\r\n",
            b"0x1\r\na\r\n",
            b"1_0\r\n",
            b" 1\r\na\r\n",
            b"1\na\r\n",
            b"1\r\nab\r\n",
            b"1\r\na\n",
            b"1\r\na\rb",
            b"1;a\rb\r\n",
            b"1" * 16 + b"\r\n",
            b"1;" + b"a" * 20 + b"\r\n",
            b"0\r\n" + b"a: bcdefgh\r\n" * 5 + b"\r\n",
            b"0\r\nabc\n\r\n",
            b"0\r\nabc\r\n\r\n",
        ):
            for size in (1, 3, 100):
                self.assertIsInstance(decode(ChunkedDecoder(LIMITS), data, size), str, data)

    @given(st.lists(st.binary(min_size=1, max_size=30), max_size=6), st.integers(1, 40))
    def test_round_trip(self, parts: list[bytes], size: int) -> None:
        data = b"".join(map(chunk, parts)) + LAST_CHUNK + b"next"
        self.assertEqual(decode(ChunkedDecoder(LIMITS), data, size), (b"".join(parts), b"next"))

    @given(
        st.lists(
            st.one_of(
                st.sampled_from((b"1\r\na\r\n", b"0\r\n", b"\r\n", b"A: b\r\n", b";x", b"5")),
                st.binary(max_size=5),
            ),
            max_size=8,
        ).map(b"".join),
        st.integers(1, 10),
    )
    @settings(max_examples=300)
    def test_any_split_gives_the_same_and_h11_agrees(self, data: bytes, size: int) -> None:
        whole = decode(ChunkedDecoder(LIMITS), data, len(data) or 1)
        split = decode(ChunkedDecoder(LIMITS), data, size)
        self.assertEqual(whole, split)
        if isinstance(whole, str):
            return
        oracle = h11.Connection(h11.SERVER)
        oracle.receive_data(
            b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n" + data
        )
        body = b""
        oracle.next_event()
        while isinstance(event := oracle.next_event(), h11.Data):
            body += bytes(event.data)
        self.assertEqual(isinstance(event, h11.EndOfMessage), whole[1] is not None)
        if whole[1] is not None:
            self.assertEqual(body, whole[0])
