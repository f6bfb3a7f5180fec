"""Host strings, as in ``tcp://127.0.0.1:2375``: their parts, and what is wrong with a bad one.

Rule: reading a host string opens nothing and asks nobody.
"""

from __future__ import annotations

import ipaddress
import os
import re

import msgspec

from dockerapi.engine.errors import InvalidParameter

#: Where the server listens unless told otherwise.
DEFAULT_HOST = "unix:///var/run/docker.sock"
DEFAULT_ADDRESS = "127.0.0.1"
PLAIN_PORT = 2375
TLS_PORT = 2376

#: The room for a path in `sockaddr_un` (unix(7)), its closing NUL included, in bytes.
_UNIX_PATH_ROOM = 108
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


class BadHost(InvalidParameter):
    """A host string that cannot be served; the message is one line that names it."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"cannot listen on {printable(text)}: {reason}")


class TcpHost(msgspec.Struct, frozen=True):
    """``tcp://ADDR:PORT`` or ``ssl://ADDR:PORT``; port 0 lets the kernel choose one."""

    text: str
    proto: str
    address: str
    port: int

    @property
    def shown(self) -> str:
        """Address and port as they are written, with brackets round IPv6."""
        return show_address(self.address, self.port)


class UnixHost(msgspec.Struct, frozen=True):
    """``unix:///PATH``."""

    text: str
    path: str
    proto: str = "unix"

    @property
    def shown(self) -> str:
        """The path."""
        return self.path


class InheritedHost(msgspec.Struct, frozen=True):
    """``fd://``, ``fd://*``, ``fd://N`` or ``fd://NAME``: sockets that were passed to us.

    :ivar selector: ``*``, a descriptor's number or a name.
    """

    text: str
    selector: str
    proto: str = "fd"

    @property
    def shown(self) -> str:
        """Which of the sockets."""
        return self.selector


class EndpointHost(msgspec.Struct, frozen=True):
    """``endpoint://DESCRIPTION``: an endpoint description of Twisted's (`--endpoint`)."""

    text: str
    description: str
    proto: str = "endpoint"

    @property
    def shown(self) -> str:
        """The description."""
        return self.description

    @property
    def kind(self) -> str:
        """The description's first word, as in ``tcp``."""
        return self.description.partition(":")[0].lower()


Host = TcpHost | UnixHost | InheritedHost | EndpointHost


def parse_host(text: str, *, tls: bool = False) -> Host:
    """Read a host string; `tls` chooses the default port of ``tcp://``.

    Raises `BadHost` for an unknown scheme and for an address that can never be.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise BadHost(text, "it has no PROTO://")
    match scheme:
        case "tcp":
            return _parse_tcp(text, scheme, rest, TLS_PORT if tls else PLAIN_PORT)
        case "ssl":
            return _parse_tcp(text, scheme, rest, TLS_PORT)
        case "unix":
            return _parse_unix(text, rest)
        case "fd":
            return _parse_inherited(text, rest)
        case "endpoint" if rest:
            return EndpointHost(text, rest)
    raise BadHost(text, "protocol not available: want tcp, unix, ssl or fd")


def show_address(address: str, port: int) -> str:
    """Write an address and port, as in ``[::1]:2375``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_loopback(address: str) -> bool:
    """Tell whether an address (no name) can only be reached from this machine."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def printable(text: str) -> str:
    """Escape what does not belong on one line of a log or terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _parse_tcp(text: str, proto: str, rest: str, default_port: int) -> TcpHost:
    address, port_text = _split(text, rest)
    if not port_text:
        return TcpHost(text, proto, address, default_port)
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5):
        raise BadHost(text, f"{printable(port_text)!r} is not a port")
    port = int(port_text)
    if port > 65535:
        raise BadHost(text, f"{port} is not a port: the highest is 65535")
    return TcpHost(text, proto, address, port)


def _split(text: str, rest: str) -> tuple[str, str]:
    """Split ``ADDR[:PORT]`` and check the address."""
    if rest.startswith("["):
        address, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise BadHost(text, "want tcp://[ADDR]:PORT")
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            raise BadHost(text, f"{printable(address)!r} is not an IPv6 address") from None
        return address, port[1:]
    address, _, port = rest.partition(":")
    if not address:
        return DEFAULT_ADDRESS, port
    if ":" in port:
        raise BadHost(text, "an IPv6 address stands in brackets, as in tcp://[::1]:2375")
    if not _NAME.fullmatch(address):
        raise BadHost(text, f"{printable(address)!r} is not an address")
    return address, port


def _parse_unix(text: str, path: str) -> UnixHost:
    if not path:
        return _parse_unix(text, DEFAULT_HOST.partition("://")[2])
    if not path.startswith("/"):
        raise BadHost(text, "the path of a unix socket is absolute, as in unix:///PATH")
    if "\0" in path or path.endswith("/"):
        raise BadHost(text, "it names no file")
    if len(os.fsencode(path)) >= _UNIX_PATH_ROOM:
        raise BadHost(text, f"the path of a unix socket has less than {_UNIX_PATH_ROOM} bytes")
    return UnixHost(text, path)


def _parse_inherited(text: str, selector: str) -> InheritedHost:
    if not selector.isprintable() or "/" in selector or ":" in selector:
        raise BadHost(text, "want fd://, fd://*, fd://N or fd://NAME")
    return InheritedHost(text, selector or "*")
