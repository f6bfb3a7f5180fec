"""WebSockets from the server's side, over a `Duplex`.

Source: RFC 6455. Rule: a message's bytes are passed on frame by frame; nothing is collected.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Iterator, Sequence
from types import TracebackType
from typing import Literal, Protocol

from dockerapi.wire.duplex import CHUNK, Duplex, StreamAborted

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_CONTROL = 8
#: The longest payload of a control frame, in bytes (section 5.5).
_CONTROL_LIMIT = 125

NORMAL, PROTOCOL_ERROR = 1000, 1002


class BadHandshake(ValueError):
    """A request that does not open a WebSocket; the text says why."""


class ProtocolError(ValueError):
    """Frames that break RFC 6455."""


def accept_headers(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that accept an opening handshake (section 4.2).

    Raises `BadHandshake` where the request lacks what the handshake needs.
    """
    fields = {name.lower(): value for name, value in headers}
    if fields.get(b"upgrade", b"").lower() != b"websocket":
        raise BadHandshake("not a websocket handshake: the Upgrade header must be websocket")
    tokens = [token.strip().lower() for token in fields.get(b"connection", b"").split(b",")]
    if b"upgrade" not in tokens:
        raise BadHandshake("not a websocket handshake: the Connection header must be Upgrade")
    if fields.get(b"sec-websocket-version") != b"13":
        raise BadHandshake("not a websocket handshake: Sec-WebSocket-Version must be 13")
    key = fields.get(b"sec-websocket-key", b"")
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        valid = False
    if not valid:
        raise BadHandshake("not a websocket handshake: Sec-WebSocket-Key must be 16 bytes")
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return [
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", base64.b64encode(digest)),
    ]


def encode_frame(opcode: int, payload: bytes, *, mask: bytes = b"", final: bool = True) -> bytes:
    """Return one frame; `mask` is four bytes for a client's frames, empty for a server's."""
    first = (0x80 if final else 0) | opcode
    masked = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 1 << 16:
        head = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    return head + mask + (unmask(payload, mask, 0) if mask else payload)


def unmask(data: bytes, mask: bytes, offset: int) -> bytes:
    """Return `data`, which begins `offset` bytes into a frame's payload, with `mask` applied."""
    size = len(data)
    turned = mask[offset % 4 :] + mask[: offset % 4]
    pattern = (turned * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(pattern, "big")).to_bytes(size, "big")


class FrameParser:
    """Takes a client's bytes and gives pieces of data messages, and whole control frames.

    Data comes as it arrives, so a long frame is given in pieces.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._opcode = 0
        self._left = 0
        self._offset = 0
        self._mask = b""
        self._in_frame = False
        self._in_message = False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Give ``(BINARY, bytes)`` for data of any kind, and ``(opcode, payload)`` for control.

        Raises `ProtocolError`.
        """
        self._buffer += data
        while self._in_frame or self._head():
            if self._opcode >= _CONTROL:
                if len(self._buffer) < self._left:
                    return
                yield self._opcode, self._take(self._left)
            else:
                piece = self._take(min(self._left, len(self._buffer)))
                if piece:
                    yield BINARY, piece
                if self._left:
                    return
            self._in_frame = False

    def _take(self, size: int) -> bytes:
        piece = unmask(bytes(self._buffer[:size]), self._mask, self._offset)
        del self._buffer[:size]
        self._left -= size
        self._offset += size
        return piece

    def _head(self) -> bool:
        """Read a frame's head; tell whether it was there."""
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        self._check(buffer[0], buffer[1])
        length = buffer[1] & 0x7F
        extended = {126: 2, 127: 8}.get(length, 0)
        size = 2 + extended + 4
        if len(buffer) < size:
            return False
        if extended:
            length = int.from_bytes(buffer[2 : 2 + extended], "big")
            if length >> 63:
                raise ProtocolError("a frame's length has its highest bit set")
        self._opcode = buffer[0] & 0x0F
        self._mask = bytes(buffer[size - 4 : size])
        self._left, self._offset, self._in_frame = length, 0, True
        if self._opcode < _CONTROL:
            self._in_message = not buffer[0] & 0x80
        del buffer[:size]
        return True

    def _check(self, first: int, second: int) -> None:
        opcode, length = first & 0x0F, second & 0x7F
        if first & 0x70:
            raise ProtocolError("a reserved bit is set")
        if not second & 0x80:
            raise ProtocolError("a client's frame is not masked")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise ProtocolError(f"unknown opcode {opcode}")
        if opcode >= _CONTROL:
            if not first & 0x80 or length > _CONTROL_LIMIT:
                raise ProtocolError("a control frame is long or in fragments")
        elif (opcode == CONTINUATION) != self._in_message:
            raise ProtocolError("a fragment is out of order")


class Lock(Protocol):
    """What lets one in at a time, by ``async with``."""

    def __aenter__(self) -> Awaitable[object]: ...
    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> Awaitable[Literal[False]]: ...


class WebSocketDuplex:
    """The data of a WebSocket as a stream: every write is one message.

    What is written goes out as binary frames, as newer dockerds send them; both kinds are read.
    A read may have to answer the client while a write is under way, and a stream takes one write
    at a time: so each frame is written under `lock`.
    """

    def __init__(self, transport: Duplex, lock: Lock) -> None:
        """Speak over `transport`; `lock` is a new one of the caller's event loop."""
        self._transport = transport
        self._lock = lock
        self._parser = FrameParser()
        self._ready = bytearray()
        self._ended = False
        self._closed = False

    async def read(self, limit: int = CHUNK) -> bytes:
        """Return data of the client; control frames are answered meanwhile.

        Raises `StreamAborted` where the client breaks the protocol or the connection off.
        """
        while not self._ready and not self._ended:
            data = await self._transport.read(CHUNK)
            if not data:
                self._ended = True
                break
            try:
                for opcode, payload in self._parser.feed(data):
                    await self._frame(opcode, payload)
                    if opcode == CLOSE:
                        break
            except ProtocolError as error:
                await self._close(PROTOCOL_ERROR)
                self._transport.abort(str(error))
                raise StreamAborted(str(error)) from error
        piece = bytes(self._ready[:limit])
        del self._ready[:limit]
        return piece

    async def write(self, data: bytes) -> None:
        """Send `data` as one binary message.

        Raises `StreamAborted` after the end.
        """
        if self._closed:
            raise StreamAborted("the websocket is closed")
        if data:
            await self._send(encode_frame(BINARY, data))

    async def close_write(self) -> None:
        """Say goodbye; a WebSocket has no half-closed state."""
        await self._close(NORMAL)
        await self._transport.close_write()

    def abort(self, reason: str) -> None:
        """Break off."""
        self._transport.abort(reason)

    async def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == BINARY:
            self._ready += payload
        elif opcode == PING and not self._closed:
            await self._send(encode_frame(PONG, payload))
        elif opcode == CLOSE:
            self._ended = True
            await self._close(_answered(payload))

    async def _close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            await self._send(encode_frame(CLOSE, code.to_bytes(2, "big")))

    async def _send(self, frame: bytes) -> None:
        async with self._lock:
            await self._transport.write(frame)


def _answered(payload: bytes) -> int:
    """Return the status that answers a client's close frame: its own, if it may send that one."""
    if not payload:
        return NORMAL
    code = int.from_bytes(payload[:2], "big")
    allowed = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
    return code if len(payload) >= 2 and (allowed or 3000 <= code <= 4999) else PROTOCOL_ERROR
