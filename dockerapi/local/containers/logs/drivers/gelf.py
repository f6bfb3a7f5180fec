"""The log driver `gelf`: Graylog's format, over UDP (compressed, in chunks) or TCP.

Source: the GELF specification 1.1; dockerd's documentation of its options, texts are dockerd's.
Rule: a message that does not fit into 128 chunks is dropped, as the format has no other way.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from twisted.internet.endpoints import HostnameEndpoint

from dockerapi.local.containers.logs.drivers.message import Driver, Message, Origin
from dockerapi.local.containers.logs.drivers.sending import Datagrams, Stream
from dockerapi.model.timestamps import rfc3339

#: Bytes of a datagram, and of what each chunk holds beside its head.
_DATAGRAM, _HEAD, _MOST = 1420, 12, 128
_MAGIC = b"\x1e\x0f"
#: zlib's windows for each kind of compression.
_WINDOWS = {"gzip": 31, "zlib": 15}
_UDP_ONLY = ("gelf-compression-level", "gelf-compression-type")
_TCP_ONLY = ("gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay")

OPTIONS = frozenset({"gelf-address", *_UDP_ONLY, *_TCP_ONLY})


def check(options: Mapping[str, str]) -> None:
    """Raise ValueError in dockerd's words for options that cannot be."""
    protocol, _, _ = _address(options)
    if protocol == "tcp" and any(name in options for name in _UDP_ONLY):
        raise ValueError("compression is only supported on UDP")
    for name in _TCP_ONLY:
        if name in options and protocol != "tcp":
            raise ValueError(f'"{name}" is only valid for TCP')
        text = options.get(name, "0")
        if not (text.isascii() and text.isdecimal()):
            raise ValueError(f'"{name}" must be a positive integer')
    level = options.get("gelf-compression-level", "1")
    if level not in ("-1", *(str(number) for number in range(10))):
        raise ValueError(_unknown("gelf-compression-level", level))
    kind = options.get("gelf-compression-type", "gzip")
    if kind not in (*_WINDOWS, "none"):
        raise ValueError(_unknown("gelf-compression-type", kind))


def make(options: Mapping[str, str], origin: Origin, reactor: Any) -> Driver:
    """Return the driver of a container; raises ValueError."""
    check(options)
    protocol, host, port = _address(options)
    if protocol == "tcp":
        return _Tcp(origin, Stream(HostnameEndpoint(reactor, host, port), reactor))
    windows = _WINDOWS.get(options.get("gelf-compression-type", "gzip"))
    level = int(options.get("gelf-compression-level", "1"))
    return _Udp(origin, Datagrams((host, port), reactor), windows, level)


def _unknown(name: str, value: str) -> str:
    return f'unknown value "{value}" for log opt "{name}" for gelf log driver'


def _address(options: Mapping[str, str]) -> tuple[str, str, int]:
    text = options.get("gelf-address", "")
    if not text:
        raise ValueError("gelf-address is a required parameter")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f'parse "{text}": invalid port after host') from None
    if parts.scheme not in ("udp", "tcp") or "://" not in text:
        raise ValueError(f"gelf-address should be in form proto://address, got {text}")
    if not parts.hostname or port is None:
        raise ValueError("gelf: please provide gelf-address as proto://host:port")
    return parts.scheme, parts.hostname, port


def document(message: Message, origin: Origin) -> bytes:
    """Return a message in GELF's JSON."""
    fields: dict[str, Any] = {
        "version": "1.1",
        "host": origin.hostname,
        "short_message": message.text.decode("utf-8", "replace"),
        "timestamp": message.time // 1_000_000 / 1000,
        "level": message.severity,
        "_container_id": origin.id,
        "_container_name": origin.name,
        "_image_id": origin.image,
        "_image_name": origin.image_name,
        "_command": origin.command,
        "_tag": origin.tag,
        "_created": rfc3339(origin.created_at),
    }
    for name, value in origin.attributes.items():
        fields.setdefault(f"_{name}", value)
    return msgspec.json.encode(fields)


def chunks(data: bytes) -> Iterator[bytes]:
    """Give the datagrams of one message."""
    if len(data) <= _DATAGRAM:
        yield data
        return
    size = _DATAGRAM - _HEAD
    count = -(-len(data) // size)
    if count > _MOST:
        return
    identity = os.urandom(8)
    for number in range(count):
        part = data[number * size : (number + 1) * size]
        yield _MAGIC + identity + bytes((number, count)) + part


class _Udp:
    def __init__(
        self, origin: Origin, datagrams: Datagrams, windows: int | None, level: int
    ) -> None:
        self._origin = origin
        self._datagrams = datagrams
        self._windows = windows
        self._level = level

    async def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.text:
                await self._datagrams.send(chunks(self._packed(message)))

    def close(self) -> None:
        self._datagrams.close()

    def _packed(self, message: Message) -> bytes:
        data = document(message, self._origin)
        if self._windows is None:
            return data
        packer = zlib.compressobj(self._level, wbits=self._windows)
        return packer.compress(data) + packer.flush()


class _Tcp:
    def __init__(self, origin: Origin, stream: Stream) -> None:
        self._origin = origin
        self._stream = stream

    async def send(self, messages: Sequence[Message]) -> None:
        # GELF has no empty messages.
        data = [document(one, self._origin) + b"\0" for one in messages if one.text]
        await self._stream.send(b"".join(data))

    def close(self) -> None:
        self._stream.close()
