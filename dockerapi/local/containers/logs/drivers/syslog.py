"""The log driver `syslog`: local and remote, over UDP, TCP, TLS and unix sockets.

Source: RFC 3164, RFC 5424, RFC 5425 (length before each message, over TLS); dockerd's documentation
of its options, texts are dockerd's. Rule: a message has the time at which the container wrote it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint

from dockerapi.local.containers.logs.drivers.message import Driver, Message, Origin, Undelivered
from dockerapi.local.containers.logs.drivers.sending import Datagrams, Stream

_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron"),
    *("authpriv", "ftp", "", "", "", ""),
    *(f"local{number}" for number in range(8)),
)
_DAEMON = _FACILITIES.index("daemon")
_TLS = "tcp+tls"
_PORT = 514
#: Where a host's own syslog listens.
_LOCAL = ("/dev/log", "/var/run/syslog", "/var/run/log")

OPTIONS = frozenset(
    {"syslog-address", "syslog-facility", "syslog-format", "syslog-tls-skip-verify"}
    | {f"syslog-tls-{name}" for name in ("ca-cert", "cert", "key")}
)
Formatter = Callable[[int, Message, Origin], bytes]


def check(options: Mapping[str, str]) -> None:
    """Raise ValueError in dockerd's words for options that cannot be."""
    _address(options.get("syslog-address", ""))
    _facility(options.get("syslog-facility", ""))
    _formatter(options.get("syslog-format", ""))


def make(options: Mapping[str, str], origin: Origin, reactor: Any) -> Driver:
    """Return the driver of a container; raises ValueError."""
    check(options)
    protocol, host, port = _address(options.get("syslog-address", ""))
    formatter = _formatter(options.get("syslog-format", ""))
    facility = _facility(options.get("syslog-facility", ""))
    counted = protocol == _TLS and options.get("syslog-format", "").startswith("rfc5424")

    def rendered(message: Message) -> bytes:
        line = formatter(facility * 8 + message.severity, message, origin) + b"\n"
        return b"%d %b" % (len(line), line) if counted else line

    if protocol in ("udp", "unixgram"):
        address = (host, port) if protocol == "udp" else host
        return _ByDatagram(Datagrams(address, reactor), rendered)
    if protocol == "unix":
        return _Local(host, rendered, reactor)
    endpoint: Any = HostnameEndpoint(reactor, host, port)
    if protocol == _TLS:
        # Here, since without such a receiver TLS is not loaded (9 MB).
        from dockerapi.local.containers.logs.drivers.tls import with_tls

        endpoint = with_tls(endpoint, host, options, "syslog-tls-")
    return _ByStream(Stream(endpoint, reactor, secure=protocol == _TLS), rendered)


def _address(text: str) -> tuple[str, str, int]:
    """Return protocol, host or path, and port."""
    if not text:
        path = next((path for path in _LOCAL if os.path.exists(path)), _LOCAL[0])
        return "unix", path, 0
    protocol, separator, rest = text.partition("://")
    if not separator or protocol not in ("udp", "tcp", _TLS, "unix", "unixgram"):
        raise ValueError(f"syslog-address should be in form proto://address, got {text}")
    if protocol.startswith("unix"):
        if not os.path.exists(rest):
            raise ValueError(f"stat {rest}: no such file or directory")
        return protocol, rest, 0
    try:
        parts = urlsplit(text)
        return protocol, parts.hostname or "localhost", parts.port or _PORT
    except ValueError:
        port = rest.rpartition(":")[2]
        raise ValueError(f'parse "{text}": invalid port ":{port}" after host') from None


def _facility(text: str) -> int:
    if not text:
        return _DAEMON
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isascii() and text.isdecimal() and int(text) < len(_FACILITIES):
        return int(text)
    raise ValueError("invalid syslog facility")


def _formatter(name: str) -> Formatter:
    formatter = _FORMATTERS.get(name)
    if formatter is None:
        raise ValueError("Invalid syslog format")
    return formatter


def _local_format(priority: int, message: Message, origin: Origin) -> bytes:
    return b"<%d>%b %b[%d]: %b" % (priority, *_short(message, origin), message.text)


def _rfc3164(priority: int, message: Message, origin: Origin) -> bytes:
    stamp, tag, pid = _short(message, origin)
    return b"<%d>%b %b %b[%d]: %b" % (
        priority,
        stamp,
        origin.hostname.encode(),
        tag,
        pid,
        message.text,
    )


def _short(message: Message, origin: Origin) -> tuple[bytes, bytes, int]:
    moment = datetime.fromtimestamp(message.time // 10**9)
    stamp = f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}"
    return stamp.encode(), origin.tag.encode(), os.getpid()


def _rfc5424(timespec: str) -> Formatter:
    def rendered(priority: int, message: Message, origin: Origin) -> bytes:
        moment = datetime.fromtimestamp(message.time // 1000 / 10**6, UTC)
        stamp = moment.isoformat(timespec=timespec).replace("+00:00", "Z")
        head = f"<{priority}>1 {stamp} {origin.hostname} {origin.tag} {os.getpid()} {origin.tag} - "
        return head.encode() + message.text

    return rendered


_FORMATTERS: Mapping[str, Formatter] = {
    "": _local_format,
    "rfc3164": _rfc3164,
    "rfc5424": _rfc5424("seconds"),
    "rfc5424micro": _rfc5424("microseconds"),
}


class _ByDatagram:
    def __init__(self, datagrams: Datagrams, rendered: Callable[[Message], bytes]) -> None:
        self._datagrams = datagrams
        self._rendered = rendered

    async def send(self, messages: Sequence[Message]) -> None:
        await self._datagrams.send(map(self._rendered, messages))

    def close(self) -> None:
        self._datagrams.close()


class _ByStream:
    def __init__(self, stream: Stream, rendered: Callable[[Message], bytes]) -> None:
        self._stream = stream
        self._rendered = rendered

    async def send(self, messages: Sequence[Message]) -> None:
        await self._stream.send(b"".join(map(self._rendered, messages)))

    def close(self) -> None:
        self._stream.close()


class _Local:
    """A unix socket, whichever kind listens there."""

    def __init__(self, path: str, rendered: Callable[[Message], bytes], reactor: Any) -> None:
        datagrams = Datagrams(path, reactor)
        stream = Stream(UNIXClientEndpoint(reactor, path), reactor)
        self._kinds: list[Driver] = [_ByDatagram(datagrams, rendered), _ByStream(stream, rendered)]

    async def send(self, messages: Sequence[Message]) -> None:
        try:
            await self._kinds[0].send(messages)
        except Undelivered:
            self._kinds.reverse()
            await self._kinds[0].send(messages)

    def close(self) -> None:
        for kind in self._kinds:
            kind.close()
