"""The log driver `fluentd`: Fluentd's forward protocol over TCP, TLS or a unix socket.

Source: Fluentd's Forward Protocol Specification v1 (message mode, acknowledgements, EventTime);
dockerd's documentation of its options, texts are dockerd's. Rule: with ``fluentd-request-ack`` a
message counts as delivered when the receiver said so.
"""

from __future__ import annotations

import base64
import os
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint

from dockerapi.local.containers.logs.drivers.message import Driver, Message, Origin, Undelivered
from dockerapi.local.containers.logs.drivers.sending import Stream
from dockerapi.local.containers.logs.values import boolean, number, parse_size

_PORT = 24224
#: The longest answer of a receiver, in bytes: an acknowledgement has some forty.
_LONGEST = 4096
_BOOLEANS = (
    *("fluentd-async", "fluentd-async-connect", "fluentd-request-ack"),
    "fluentd-sub-second-precision",
)
_DURATIONS = ("fluentd-retry-wait", "fluentd-async-reconnect-interval")
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+|0", re.ASCII)

OPTIONS = frozenset(
    {"fluentd-address", "fluentd-buffer-limit", "fluentd-max-retries", *_BOOLEANS, *_DURATIONS}
)


def check(options: Mapping[str, str]) -> None:
    """Raise ValueError in dockerd's words for options that cannot be."""
    _address(options.get("fluentd-address", ""))
    for name in _BOOLEANS:
        if name in options:
            boolean(options[name])
    if "fluentd-buffer-limit" in options:
        parse_size(options["fluentd-buffer-limit"])
    if "fluentd-max-retries" in options:
        number(options["fluentd-max-retries"], "ParseUint")
    for name in _DURATIONS:
        if name in options and _DURATION.fullmatch(options[name]) is None:
            raise ValueError(f'time: invalid duration "{options[name]}"')


def make(options: Mapping[str, str], origin: Origin, reactor: Any) -> Driver:
    """Return the driver of a container; raises ValueError."""
    check(options)
    protocol, host, port = _address(options.get("fluentd-address", ""))
    endpoint: Any
    if protocol == "unix":
        endpoint = UNIXClientEndpoint(reactor, host)
    else:
        endpoint = HostnameEndpoint(reactor, host, port)
    if protocol == "tls":
        # Here, since without such a receiver TLS is not loaded (9 MB).
        from dockerapi.local.containers.logs.drivers.tls import with_tls

        endpoint = with_tls(endpoint, host, {}, "")
    return _Fluentd(
        origin,
        Stream(endpoint, reactor, secure=protocol == "tls"),
        acknowledged=boolean(options.get("fluentd-request-ack", "false")),
        precise=boolean(options.get("fluentd-sub-second-precision", "false")),
    )


def _address(text: str) -> tuple[str, str, int]:
    """Return protocol, host or path, and port."""
    protocol, separator, rest = text.partition("://")
    if not separator:
        protocol, rest = "tcp", text
    if protocol == "unix":
        return "unix", rest, 0
    host, colon, port = (rest if protocol in ("tcp", "tls") else text).rpartition(":")
    if not colon:
        host, port = port, str(_PORT)
    try:
        value = number(port)
    except ValueError as error:
        raise ValueError(f"invalid fluentd-address {text}: {error}") from None
    return protocol, host.strip("[]") or "127.0.0.1", value


class _Fluentd:
    def __init__(
        self, origin: Origin, stream: Stream, *, acknowledged: bool, precise: bool
    ) -> None:
        self._origin = origin
        self._stream = stream
        self._acknowledged = acknowledged
        self._precise = precise
        self._encode = msgspec.msgpack.Encoder().encode

    async def send(self, messages: Sequence[Message]) -> None:
        if not self._acknowledged:
            await self._stream.send(b"".join(self._encode(self._entry(one)) for one in messages))
            return
        for message in messages:
            chunk = base64.b64encode(os.urandom(16)).decode()
            await self._stream.send(self._encode([*self._entry(message), {"chunk": chunk}]))
            await self._until_acknowledged(chunk)

    def close(self) -> None:
        self._stream.close()

    def _entry(self, message: Message) -> list[Any]:
        record: dict[str, Any] = {
            "container_id": self._origin.id,
            "container_name": f"/{self._origin.name}",
            "source": message.source,
            "log": message.text.decode("utf-8", "replace"),
            **self._origin.attributes,
        }
        if not message.whole:
            record["partial_message"] = "true"
        seconds, rest = divmod(message.time, 10**9)
        when = msgspec.msgpack.Ext(0, struct.pack(">II", seconds, rest))
        return [self._origin.tag, when if self._precise else seconds, record]

    async def _until_acknowledged(self, chunk: str) -> None:
        answer = b""
        while len(answer) <= _LONGEST:
            answer += await self._stream.answer()
            try:
                said = msgspec.msgpack.decode(answer, type=dict[str, str])
            except msgspec.ValidationError:
                break
            except msgspec.DecodeError:
                # It is not whole yet.
                continue
            if said.get("ack") == chunk:
                return
            break
        raise Undelivered("the receiver acknowledged something else")
