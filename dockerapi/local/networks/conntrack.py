"""What the kernel remembers of UDP flows, forgotten for ports that lead elsewhere from now on.

Without that, a client that keeps sending from the same port keeps reaching where the port led
before: a container that has gone, or nobody. Rule: flows through this host to others stay.
Source: linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import IPv4Address
from typing import Any

from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_CTNETLINK
from pyroute2.netlink.nfnetlink.nfctsocket import (
    FILTER_FLAG_CTA_PROTO_DST_PORT,
    FILTER_FLAG_CTA_PROTO_NUM,
    IPCTNL_MSG_CT_DELETE,
    IPCTNL_MSG_CT_GET,
    nfct_msg,
)

from dockerapi.local.networks.netlink import Netlink, prepared

_NETLINK_NETFILTER = 12
_ACKED = 0x1 | 0x4  # NLM_F_REQUEST | NLM_F_ACK
_DUMP = 0x1 | 0x300  # NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH


def forget_flows(ports: Collection[int]) -> None:
    """Have UDP flows to `ports` of this host begin anew; raises OSError.

    It takes the kernel 10 ms to look through its table: call it in a thread.
    """
    host, conntrack = Netlink(), Conntrack()
    try:
        own = {address.ip for address in host.addresses()}
        for port in ports:
            conntrack.forget(port, own)
    finally:
        host.close()
        conntrack.close()


class Conntrack:
    """Forgets flows; used by one thread at a time, never the reactor's."""

    def __init__(self) -> None:
        self._netlink = Netlink(_NETLINK_NETFILTER)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()

    def forget(self, port: int, addresses: Collection[IPv4Address]) -> None:
        """Forget UDP flows to `port` of one of `addresses`, or of loopback; raises OSError."""
        for flow in self._flows(port):
            source = flow.get_attr("CTA_TUPLE_ORIG")
            target = IPv4Address(source.get_attr("CTA_TUPLE_IP").get_attr("CTA_IP_V4_DST"))
            protocol = source.get_attr("CTA_TUPLE_PROTO")
            # An old kernel gives all flows, whatever was asked for.
            matches = (
                protocol.get_attr("CTA_PROTO_NUM") == socket.IPPROTO_UDP
                and protocol.get_attr("CTA_PROTO_DST_PORT") == port
            )
            if matches and (target in addresses or target.is_loopback):
                self._delete(source)

    def _flows(self, port: int) -> list[Any]:
        message = _message()
        wanted = [["CTA_PROTO_NUM", socket.IPPROTO_UDP], ["CTA_PROTO_DST_PORT", port]]
        flags = FILTER_FLAG_CTA_PROTO_NUM | FILTER_FLAG_CTA_PROTO_DST_PORT
        message["attrs"] = [
            ["CTA_TUPLE_ORIG", {"attrs": [["CTA_TUPLE_PROTO", {"attrs": wanted}]]}],
            ["CTA_FILTER", {"attrs": [["CTA_FILTER_ORIG_FLAGS", flags]]}],
        ]
        return self._netlink.dump(prepared(message, _kind(IPCTNL_MSG_CT_GET), _DUMP), nfct_msg)

    def _delete(self, source: Any) -> None:
        address, protocol = source.get_attr("CTA_TUPLE_IP"), source.get_attr("CTA_TUPLE_PROTO")
        names = ("CTA_PROTO_NUM", "CTA_PROTO_SRC_PORT", "CTA_PROTO_DST_PORT")
        ends = ("CTA_IP_V4_SRC", "CTA_IP_V4_DST")
        message = _message()
        message["attrs"] = [
            [
                "CTA_TUPLE_ORIG",
                {
                    "attrs": [
                        [
                            "CTA_TUPLE_IP",
                            {"attrs": [[name, address.get_attr(name)] for name in ends]},
                        ],
                        [
                            "CTA_TUPLE_PROTO",
                            {"attrs": [[name, protocol.get_attr(name)] for name in names]},
                        ],
                    ]
                },
            ]
        ]
        try:
            self._netlink.execute(prepared(message, _kind(IPCTNL_MSG_CT_DELETE), _ACKED))
        except FileNotFoundError:
            # It ended on its own.
            return


def _message() -> Any:
    message = nfct_msg()
    message["nfgen_family"] = socket.AF_INET
    message["version"] = 0
    message["res_id"] = 0
    return message


def _kind(kind: int) -> int:
    return int(NFNL_SUBSYS_CTNETLINK << 8 | kind)
