"""Docker's frames for standard output and error in one stream.

Source: `ContainerAttach` of the specification, "Stream format": one byte for the stream, three of
zero, four for the payload's length (big endian), the payload. Rule: pure; a decoder gives the same
frames however its input was split.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

STDIN, STDOUT, STDERR = 0, 1, 2
#: An error of the system itself, as dockerd frames it.
SYSTEM_ERROR = 3

_HEAD = struct.Struct(">BxxxI")
#: The longest payload that a decoder takes, in bytes.
LONGEST = 16 * 1024 * 1024


class BadFrame(ValueError):
    """Bytes that are no such frame."""


def frame_head(stream: int, size: int) -> bytes:
    """Return what stands before a payload of `size` bytes (less than 4 GiB) of `stream`."""
    return _HEAD.pack(stream, size)


def frame(stream: int, payload: bytes) -> bytes:
    """Return `payload` (shorter than 4 GiB) as one frame of `stream`."""
    return frame_head(stream, len(payload)) + payload


class FrameDecoder:
    """Takes a framed stream in pieces and gives its frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Give each complete frame as stream and payload; raises `BadFrame`."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            stream, size = _HEAD.unpack_from(self._buffer)
            if stream > SYSTEM_ERROR or size > LONGEST or any(self._buffer[1:4]):
                raise BadFrame("not a frame of standard output or error")
            end = _HEAD.size + size
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            yield stream, payload

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame there are."""
        return len(self._buffer)
