"""Ports of the host held by bound sockets, so that nobody else on it takes them.

Rule: one wish gets one number on all its addresses, or nothing; a long search gives others a turn.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import attrs

from dockerapi.engine.errors import EngineError
from dockerapi.model.ports import PortRequest, PublishedPort

_ANY = ("0.0.0.0", "::")
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_RANGE = (49153, 65535)
#: How many connections may wait to be accepted by a proxy.
_BACKLOG = 128
#: What a host without IPv6 answers.
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_SO_ATTACH_FILTER = 26
#: The program "return 0" of classic BPF (linux/filter.h): nothing passes.
_REFUSE_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)
#: How many numbers are tried before others have their turn: a few milliseconds.
_AT_ONCE = 64
_KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}


class PortAllocated(EngineError):
    """Other containers hold the port, or all ports, that one wants."""

    def __init__(self, message: str, request: PortRequest) -> None:
        super().__init__(message)
        self._request = request

    def may_be(self, port: PublishedPort) -> bool:
        """Tell whether `port` is one that would have done."""
        request = self._request
        wanted = not request.first or request.first <= port.number <= request.last
        return wanted and port.port.protocol == request.port.protocol


@attrs.frozen(eq=False)
class Held:
    """A port of the host and the socket that holds it; None where somebody else has it."""

    port: PublishedPort
    socket: socket.socket | None


class Holding:
    """The ports of the host that containers have."""

    def __init__(self, turn: Callable[[], Awaitable[None]]) -> None:
        """Begin; `turn` is awaited to let others go on."""
        #: How often each address is held, by protocol and number.
        self._held: dict[tuple[str, int], Counter[str]] = {}
        self._last: dict[str, int] = {}
        self._turn = turn
        self._tries = 0

    async def take(
        self, request: PortRequest, *, accepting: Sequence[int], target: str
    ) -> list[Held]:
        """Hold a port as `request` wants it and return it, on each of its addresses.

        `accepting` are the IP versions whose sockets are to accept (for a proxy); others let
        nothing in. `target` is the container's address, for texts. Raises `PortAllocated` where
        another container has it, `EngineError` in dockerd's words where the host refuses.
        """
        if request.first and request.first == request.last:
            await self._count()
            return self._hold(request, request.first, accepting, target)
        for number in self._candidates(request):
            await self._count()
            try:
                held = self._hold(request, number, accepting, target)
            except (PortAllocated, _InUse):
                continue
            if not request.first:
                self._last[request.port.protocol] = number
            return held
        raise PortAllocated("all ports are allocated", request)

    def take_again(self, port: PublishedPort, *, accepting: bool) -> Held:
        """Hold a port that a container has from an earlier server; raises OSError."""
        return self._keep(port, _bind(port, accepting))

    def claim(self, port: PublishedPort) -> Held:
        """Give a port to no other container, though it cannot be held."""
        return self._keep(port, None)

    def release(self, held: Held) -> None:
        """Let a port go."""
        if held.socket is not None:
            held.socket.close()
        key = (held.port.port.protocol, held.port.number)
        addresses = self._held[key]
        addresses[held.port.address] -= 1
        if addresses[held.port.address] <= 0:
            del addresses[held.port.address]
        if not addresses:
            del self._held[key]

    async def _count(self) -> None:
        """Count a try, and let others go on from time to time."""
        self._tries += 1
        if self._tries % _AT_ONCE == 0:
            await self._turn()

    def _hold(
        self, request: PortRequest, number: int, accepting: Sequence[int], target: str
    ) -> list[Held]:
        protocol = request.port.protocol
        held: list[Held] = []
        try:
            for address in request.addresses:
                if self._conflicts(protocol, number, address):
                    text = f"Bind for {_joined(address, number)} failed: port is already allocated"
                    raise PortAllocated(text, request)
                port = PublishedPort(request.port, address, number)
                try:
                    bound = _bind(port, ip_address(address).version in accepting)
                except OSError as error:
                    if _is_spare(request, address) and error.errno in _NO_FAMILY:
                        continue
                    raise _refusal(port, target, error) from None
                held.append(self._keep(port, bound))
        except BaseException:
            for one in held:
                self.release(one)
            raise
        return held

    def _keep(self, port: PublishedPort, bound: socket.socket | None) -> Held:
        addresses = self._held.setdefault((port.port.protocol, port.number), Counter())
        addresses[port.address] += 1
        return Held(port, bound)

    def _conflicts(self, protocol: str, number: int, address: str) -> bool:
        version = ip_address(address).version
        return any(
            other == address or address in _ANY or other in _ANY
            for other in self._held.get((protocol, number), ())
            if ip_address(other).version == version
        )

    def _candidates(self, request: PortRequest) -> Iterator[int]:
        """Give the numbers to try: from the first on, or after the one given last."""
        if request.first:
            yield from range(request.first, request.last + 1)
            return
        first, last = _ephemeral()
        begin = self._last.get(request.port.protocol, first - 1) + 1
        if not first <= begin <= last:
            begin = first
        yield from range(begin, last + 1)
        yield from range(first, begin)


class _InUse(EngineError):
    """Somebody else on the host has the port."""


def _refusal(port: PublishedPort, target: str, error: OSError) -> EngineError:
    kind = _InUse if error.errno == errno.EADDRINUSE else EngineError
    reason = os.strerror(error.errno or 0).lower()
    return kind(
        f"failed to bind host port for {_joined(port.address, port.number)}:{target}:{port.port}: "
        f"{reason}"
    )


def _is_spare(request: PortRequest, address: str) -> bool:
    """Tell whether `address` was not asked for but comes with another."""
    return len(request.addresses) > 1 and address != request.addresses[0]


def _joined(address: str, number: int) -> str:
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def _bind(port: PublishedPort, accepting: bool) -> socket.socket:
    """Return a socket bound to the port; raises OSError."""
    kind, protocol = _KINDS[port.port.protocol]
    sixth = ":" in port.address
    if sixth and port.port.protocol == "sctp":
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    family = socket.AF_INET6 if sixth else socket.AF_INET
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    try:
        if sixth:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if not accepting:
            _refuse_all(bound)
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((port.address, port.number))
        if kind == socket.SOCK_STREAM:
            # Only a socket that listens keeps others away who also reuse addresses.
            bound.listen(_BACKLOG if accepting else 1)
    except BaseException:
        bound.close()
        raise
    return bound


def _refuse_all(bound: socket.socket) -> None:
    """Let nothing into a socket that only holds its port: the kernel leads all of it elsewhere."""
    code = ctypes.create_string_buffer(_REFUSE_ALL, len(_REFUSE_ALL))
    program = struct.pack("@HP", 1, ctypes.addressof(code))
    bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _ephemeral() -> tuple[int, int]:
    """Return the first and last port that the kernel gives to whoever asks for any."""
    try:
        first, last = map(int, _RANGE.read_text().split())
    except (OSError, ValueError):
        return _DEFAULT_RANGE
    return first, last
