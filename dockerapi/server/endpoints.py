"""From a host to what listens for it.

Rule: nothing that reaches past this machine is served plain unless its operator said so.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import attrs
import msgspec
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from dockerapi.server.hosts import (
    BadHost,
    EndpointHost,
    Host,
    InheritedHost,
    TcpHost,
    UnixHost,
    is_loopback,
    printable,
)
from dockerapi.server.ports import UnixSocketPort
from dockerapi.server.systemd import InheritedSockets
from dockerapi.server.unixsocket import BoundSocket, group_id

#: Descriptions that TLS does not wrap: they have their own, or never leave the machine.
_NEVER_WRAPPED = ("ssl", "unix")


class Opening(msgspec.Struct, frozen=True):
    """One port to be opened.

    :ivar host: whose it is.
    :ivar tls: whether TLS wraps what it accepts.
    """

    host: Host
    endpoint: IStreamServerEndpoint
    tls: bool


class Policy(msgspec.Struct, frozen=True):
    """What holds for all hosts of a server.

    :ivar group: the group of unix sockets.
    :ivar backlog: the length of each port's queue.
    :ivar tls: whether TCP is served with TLS, and `verified` whether with client certificates.
    :ivar insecure_tcp: whether TCP without client certificates may be reached from elsewhere.
    """

    group: str = ""
    backlog: int = 4096
    tls: bool = False
    verified: bool = False
    insecure_tcp: bool = False


@implementer(IStreamServerEndpoint)
@attrs.frozen
class UnixSocketEndpoint:
    """A unix socket that is bound when it is listened on."""

    reactor: Any
    text: str
    path: str
    group: str
    backlog: int

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Bind, listen, begin to accept; the Deferred fails with `BadHost`."""
        try:
            bound = BoundSocket(self.text, self.path, group_id(self.text, self.group), self.backlog)
        except BadHost:
            return fail()
        port = UnixSocketPort(bound.socket, factory, self.reactor, at_end=bound.remove)
        port.startListening()
        return succeed(port)


@implementer(IStreamServerEndpoint)
@attrs.frozen
class UnixAdoptedEndpoint:
    """A unix socket that init made and that stays init's."""

    reactor: Any
    inherited: socket.socket

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Begin to accept."""
        port = UnixSocketPort(self.inherited, factory, self.reactor)
        port.startListening()
        return succeed(port)


class EndpointMaker(msgspec.Struct, frozen=True):
    """Makes the openings of hosts."""

    reactor: Any
    policy: Policy
    inherited: InheritedSockets

    log = Logger()

    def openings(self, host: Host) -> Iterator[Opening]:
        """Give what is to be opened for `host`, each when it is asked for; raises `BadHost`."""
        match host:
            case TcpHost():
                yield self._tcp(host)
            case UnixHost():
                endpoint = UnixSocketEndpoint(
                    self.reactor, host.text, host.path, self.policy.group, self.policy.backlog
                )
                yield Opening(host, endpoint, tls=False)
            case InheritedHost():
                for descriptor in self.inherited.select(host.text, host.selector):
                    yield self._adopt(host, descriptor)
            case EndpointHost():
                yield self._described(host)

    def check_address(self, host: Host, address: object) -> None:
        """Raise `BadHost` where `address` can be reached from elsewhere and must not be.

        Even a loopback address without client certificates is worth a warning.
        """
        wrapped = not (isinstance(host, EndpointHost) and host.kind in _NEVER_WRAPPED)
        if self.policy.verified and wrapped:
            return
        if not isinstance(address, IPv4Address | IPv6Address):
            return
        if not is_loopback(address.host):
            if not self.policy.insecure_tcp:
                raise BadHost(
                    host.text,
                    "without --tlsverify everyone who reaches this address is root on this "
                    "machine; say --insecure-tcp if that is what you want",
                )
            self.log.warn(
                "/!\\ {host} HANDS ROOT ON THIS MACHINE TO EVERYONE WHO REACHES IT: "
                "no client certificate is asked for (--tlsverify) /!\\",
                host=printable(host.text),
            )
        else:
            self.log.warn(
                "{host}: every local user and process can use this port", host=printable(host.text)
            )

    def _tcp(self, host: TcpHost) -> Opening:
        family, address = _resolve(host)
        kind = IPv6Address if family == socket.AF_INET6 else IPv4Address
        self.check_address(host, kind("TCP", address, host.port))
        make = TCP6ServerEndpoint if family == socket.AF_INET6 else TCP4ServerEndpoint
        endpoint = make(self.reactor, host.port, self.policy.backlog, address)
        return Opening(host, endpoint, tls=self.policy.tls or host.proto == "ssl")

    def _adopt(self, host: InheritedHost, descriptor: int) -> Opening:
        inherited = self.inherited.take(host.text, descriptor)
        if inherited.family == socket.AF_UNIX:
            return Opening(host, UnixAdoptedEndpoint(self.reactor, inherited), tls=False)
        kind = IPv6Address if inherited.family == socket.AF_INET6 else IPv4Address
        try:
            self.check_address(host, kind("TCP", *inherited.getsockname()[:2]))
        except BadHost:
            inherited.close()
            raise
        family = inherited.family
        endpoint = AdoptedStreamServerEndpoint(self.reactor, inherited.detach(), family)
        return Opening(host, endpoint, tls=self.policy.tls)

    def _described(self, host: EndpointHost) -> Opening:
        try:
            endpoint = serverFromString(self.reactor, host.description)
        except Exception as error:
            # Parsers are plugins, which may raise anything.
            raise BadHost(host.text, f"bad endpoint description: {error}") from error
        return Opening(host, endpoint, self.policy.tls and host.kind not in _NEVER_WRAPPED)


def why_not(error: Exception) -> str:
    """Return in one line why a port could not be opened."""
    cause: object = error.socketError if isinstance(error, CannotListenError) else error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return " ".join(str(cause).split()) or type(error).__name__


def _resolve(host: TcpHost) -> tuple[socket.AddressFamily, str]:
    """Return family and address of a host's name, IPv4 first as in Go's `net.Listen`."""
    try:
        found = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadHost(host.text, f"lookup {host.address}: {reason.lower()}") from None
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, str(address[0])
