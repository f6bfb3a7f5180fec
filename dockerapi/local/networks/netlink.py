"""Links, addresses and routes over one kept rtnetlink socket.

Rule: pyroute2 packs and unpacks messages, but for links, which are asked for at each start and
which it unpacks whole; the socket is a plain blocking one for use in threads, as pyroute2's own
sockets run an event loop each. Importing this module takes 0.1 s: do it in a thread.
Source: rtnetlink(7), include/uapi/linux/if_link.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from typing import Any, Self

import msgspec
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

_ACKED = 0x1 | 0x4  # NLM_F_REQUEST | NLM_F_ACK
_NEW = _ACKED | 0x200 | 0x400  # NLM_F_EXCL | NLM_F_CREATE
_DUMP = 0x1 | 0x300  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _GETROUTE = 24, 26
_HEADER = struct.Struct("=IHHII")
_LINK_HEADER = struct.Struct("=BxHiII")
_ATTRIBUTE = struct.Struct("=HH")
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_OPERSTATE, _IFLA_IFALIAS = 3, 10, 16, 20
_OPERSTATE_UP = b"\x06"
_RECEIVE = 256 * 1024
_UP = 0x1
_TABLE_MAIN = 254
_PROTO_BOOT = 3


class Link(msgspec.Struct, frozen=True):
    """A network link.

    :ivar master: the index of the bridge that it belongs to, 0 for none.
    :ivar alias: the free text that its maker left on it.
    :ivar running: whether it carries packets.
    """

    index: int
    name: str
    master: int
    alias: str
    running: bool

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the answer `data` of the kernel (RTM_NEWLINK)."""
        offset = _HEADER.size
        _, _, index, _, _ = _LINK_HEADER.unpack_from(data, offset)
        found = dict(_attributes(data, offset + _LINK_HEADER.size))
        return cls(
            index=index,
            name=found[_IFLA_IFNAME].rstrip(b"\0").decode(),
            master=int.from_bytes(found.get(_IFLA_MASTER, b""), sys.byteorder),
            alias=found.get(_IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace"),
            running=found.get(_IFLA_OPERSTATE) == _OPERSTATE_UP,
        )


class Netlink:
    """A netlink socket of the namespace in which it was made; used by one thread at a time."""

    def __init__(self, family: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family
        )
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def execute(self, *messages: Any) -> None:
        """Send `messages` in one call; raise the OSError of the first that fails.

        The kernel goes through all of them, whatever becomes of the first.
        """
        first = self._sequence + 1
        self._socket.send(b"".join(self._encode(message) for message in messages))
        missing = len(messages)
        failure: OSError | None = None
        while missing:
            for kind, sequence, data in self._receive():
                if kind == _ERROR and sequence >= first:
                    missing -= 1
                    (code,) = struct.unpack_from("=i", data, _HEADER.size)
                    if code and failure is None:
                        failure = OSError(-code, f"netlink: {os.strerror(-code)}")
        if failure is not None:
            raise failure

    def links(self) -> list[Link]:
        """Return every link of the namespace."""
        return [Link.decode(data) for data in self._dump(prepared(ifinfmsg(), _GETLINK, _DUMP))]

    def link(self, name: str) -> Link | None:
        """Return the link `name`, or None where there is none.

        Raises OSError where the kernel does not tell.
        """
        request = ifinfmsg()
        request["attrs"] = [["IFLA_IFNAME", name]]
        prepared(request, _GETLINK, 0x1)
        self._socket.send(self._encode(request))
        for kind, _, data in self._receive():
            if kind == _NEWLINK:
                return Link.decode(data)
            (code,) = struct.unpack_from("=i", data, _HEADER.size)
            if code not in (0, -errno.ENODEV):
                raise OSError(-code, f"netlink: {os.strerror(-code)}", name)
        return None

    def addresses(self, index: int | None = None) -> list[IPv4Interface]:
        """Return the IPv4 addresses of the link `index`, or of all links."""
        request = ifaddrmsg()
        request["family"] = socket.AF_INET
        return [
            IPv4Interface(f"{message.get_attr('IFA_LOCAL')}/{message['prefixlen']}")
            for message in self.dump(prepared(request, _GETADDR, _DUMP), ifaddrmsg)
            if index is None or message["index"] == index
        ]

    def routes(self) -> list[tuple[IPv4Network, int]]:
        """Return the IPv4 routes of all tables but the default ones: network, link's index."""
        request = rtmsg()
        request["family"] = socket.AF_INET
        found = []
        for message in self.dump(prepared(request, _GETROUTE, _DUMP), rtmsg):
            target = message.get_attr("RTA_DST")
            if target is not None and message["dst_len"]:
                network = IPv4Network((target, message["dst_len"]), strict=False)
                found.append((network, message.get_attr("RTA_OIF") or 0))
        return found

    def dump(self, request: Any, answer: Any) -> list[Any]:
        """Send a request for many objects, and return them as messages of the class `answer`."""
        found = []
        for data in self._dump(request):
            message = answer(data)
            message.decode()
            found.append(message)
        return found

    def _dump(self, request: Any) -> list[bytes]:
        self._socket.send(self._encode(request))
        found: list[bytes] = []
        while True:
            for answered, _, data in self._receive():
                if answered == _DONE:
                    return found
                if answered == _ERROR:
                    (code,) = struct.unpack_from("=i", data, _HEADER.size)
                    raise OSError(-code, f"netlink: {os.strerror(-code)}")
                found.append(data)

    def _encode(self, message: Any) -> bytes:
        self._sequence += 1
        return encoded(message, self._sequence)

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(_RECEIVE)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                raise OSError(errno.EBADMSG, "netlink: a message without length")
            yield kind, sequence, data[offset : offset + length]
            offset += (length + 3) & ~3


def encoded(message: Any, sequence: int) -> bytes:
    """Return a message of pyroute2's as the kernel takes it, numbered `sequence`."""
    message["header"]["sequence_number"] = sequence
    message["header"]["pid"] = 0
    message.encode()
    return bytes(message.data)


def _attributes(data: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Give the attributes of a message from `offset` on: type and value."""
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            raise OSError(errno.EBADMSG, "netlink: an attribute without length")
        yield kind, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def new_bridge(name: str, mac: str, mtu: int) -> Any:
    """Make a bridge with an address of its own, so that it keeps it whatever joins; and up."""
    message = ifinfmsg()
    _set_up(message)
    message["attrs"] = [
        ["IFLA_IFNAME", name],
        ["IFLA_ADDRESS", mac],
        ["IFLA_MTU", mtu],
        ["IFLA_LINKINFO", {"attrs": [["IFLA_INFO_KIND", "bridge"]]}],
    ]
    return prepared(message, _NEWLINK, _NEW)


def new_veth(name: str, bridge: int, mtu: int, peer: str, mac: str, namespace: int) -> Any:
    """Make a pair: `name`, part of the link `bridge`, and `peer` in `namespace` (a descriptor).

    `name` is up; `peer` has the hardware address `mac` and must be set up in its namespace (the
    kernel cannot before the two are tied).
    """
    message = ifinfmsg()
    _set_up(message)
    other = {
        "index": 0,
        "attrs": [
            ["IFLA_IFNAME", peer],
            ["IFLA_ADDRESS", mac],
            ["IFLA_MTU", mtu],
            ["IFLA_NET_NS_FD", namespace],
        ],
    }
    message["attrs"] = [
        ["IFLA_IFNAME", name],
        ["IFLA_MTU", mtu],
        ["IFLA_MASTER", bridge],
        [
            "IFLA_LINKINFO",
            {
                "attrs": [
                    ["IFLA_INFO_KIND", "veth"],
                    ["IFLA_INFO_DATA", {"attrs": [["VETH_INFO_PEER", other]]}],
                ]
            },
        ],
    ]
    return prepared(message, _NEWLINK, _NEW)


def set_link(
    index: int, alias: str | None = None, master: int | None = None, mac: str | None = None
) -> Any:
    """Set the link `index` up, with the text `alias` on it, as part of the bridge `master`.

    `mac` is its hardware address.
    """
    message = ifinfmsg()
    message["index"] = index
    _set_up(message)
    if alias is not None:
        message["attrs"].append(["IFLA_IFALIAS", alias])
    if master is not None:
        message["attrs"].append(["IFLA_MASTER", master])
    if mac is not None:
        message["attrs"].append(["IFLA_ADDRESS", mac])
    return prepared(message, _NEWLINK, _ACKED)


def delete_link(index: int) -> Any:
    """Delete the link `index`."""
    message = ifinfmsg()
    message["index"] = index
    return prepared(message, _DELLINK, _ACKED)


def new_address(index: int, address: IPv4Interface | IPv6Interface) -> Any:
    """Give the link `index` an address, one of IPv4 with its broadcast address."""
    message = ifaddrmsg()
    message["family"] = socket.AF_INET if address.version == 4 else socket.AF_INET6
    message["prefixlen"] = address.network.prefixlen
    message["index"] = index
    message["attrs"] = [["IFA_LOCAL", str(address.ip)], ["IFA_ADDRESS", str(address.ip)]]
    if address.version == 4:
        message["attrs"].append(["IFA_BROADCAST", str(address.network.broadcast_address)])
    return prepared(message, _NEWADDR, _NEW)


def new_default_route(index: int, gateway: IPv4Address) -> Any:
    """Send everything else to `gateway` by the link `index`."""
    message = rtmsg()
    message["family"] = socket.AF_INET
    message["table"] = _TABLE_MAIN
    message["proto"] = _PROTO_BOOT
    message["scope"] = 0
    message["type"] = 1  # RTN_UNICAST
    message["attrs"] = [["RTA_GATEWAY", str(gateway)], ["RTA_OIF", index]]
    return prepared(message, _NEWROUTE, _NEW)


def _set_up(message: Any) -> None:
    message["flags"] = _UP
    message["change"] = _UP


def prepared(message: Any, kind: int, flags: int) -> Any:
    """Return `message` with its type and flags."""
    message["header"]["type"] = kind
    message["header"]["flags"] = flags
    return message
