"""Elements of nftables maps, put in and taken out over one kept netlink socket.

Rule: pyroute2 packs messages, as in `netlink`; used by one thread at a time, never the reactor's.
That costs 0.2 ms where the program nft takes 10. Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    NFT_MSG_DELSETELEM,
    NFT_MSG_NEWSETELEM,
    nft_set_elem_list_msg,
)

from dockerapi.local.networks.netlink import encoded

_NETLINK_NETFILTER = 12
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_ERROR = 2
_FAMILY_IPV4 = 2
_HEADER = struct.Struct("=IHHIIi")
_RECEIVE = 64 * 1024
#: How many elements are changed together: the answers have to fit into the socket's buffer.
_AT_ONCE = 64
#: Seconds that the kernel may take.
_PATIENCE = 10.0

#: An element: the name of its map, its key and its value, their fields as they are on the wire.
Element = tuple[str, Sequence[bytes], Sequence[bytes]]


class NfElements:
    """Changes the elements of the maps of one table of the family ip."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        self._socket.settimeout(_PATIENCE)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def add(self, elements: Sequence[Element]) -> None:
        """Put `elements` in, all or none; one that is there already is no error.

        Raises FileNotFoundError where table or map is missing, OSError else.
        """
        for begin in range(0, len(elements), _AT_ONCE):
            try:
                self._execute(NFT_MSG_NEWSETELEM, _CREATE, elements[begin : begin + _AT_ONCE])
            except BaseException:
                self.remove(elements[:begin])
                raise

    def remove(self, elements: Sequence[Element]) -> None:
        """Take `elements` out; those that are not there are no error."""
        for begin in range(0, len(elements), _AT_ONCE):
            some = elements[begin : begin + _AT_ONCE]
            try:
                self._execute(NFT_MSG_DELSETELEM, 0, some)
            except FileNotFoundError:
                # Of these, none was taken out.
                for one in some:
                    with suppress(FileNotFoundError):
                        self._execute(NFT_MSG_DELSETELEM, 0, [one])

    def _execute(self, kind: int, flags: int, elements: Sequence[Element]) -> None:
        first = self._sequence + 1
        messages = [self._encode(_batch(_BATCH_BEGIN))]
        messages += [
            self._encode(_change(self._table, kind, flags | _REQUEST | _ACK, element))
            for element in elements
        ]
        messages.append(self._encode(_batch(_BATCH_END)))
        self._socket.send(b"".join(messages))
        missing = len(elements)
        failure: OSError | None = None
        while missing:
            for sequence, code in self._receive():
                if sequence < first:
                    continue
                missing -= 1
                if code and failure is None:
                    failure = OSError(-code, f"nftables: {os.strerror(-code)}", self._table)
                if sequence == first:
                    # The batch as a whole was refused.
                    missing = 0
        if failure is not None:
            raise failure

    def _encode(self, message: Any) -> bytes:
        self._sequence += 1
        return encoded(message, self._sequence)

    def _receive(self) -> list[tuple[int, int]]:
        """Return sequence numbers and codes of the answers of one read."""
        data = self._socket.recv(_RECEIVE)
        found, offset = [], 0
        while offset + _HEADER.size <= len(data):
            length, kind, _, sequence, _, code = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                raise OSError(errno.EBADMSG, "nftables: a message without length")
            if kind == _ERROR:
                found.append((sequence, code))
            offset += (length + 3) & ~3
        return found


def _batch(kind: int) -> Any:
    message = nfgen_msg()
    message["nfgen_family"] = 0
    message["version"] = 0
    message["res_id"] = socket.htons(NFNL_SUBSYS_NFTABLES)
    message["header"]["type"] = kind
    message["header"]["flags"] = _REQUEST
    return message


def _change(table: str, kind: int, flags: int, element: Element) -> Any:
    name, key, value = element
    attributes = [["NFTA_SET_ELEM_KEY", _data(key)]]
    if kind == NFT_MSG_NEWSETELEM:
        attributes.append(["NFTA_SET_ELEM_DATA", _data(value)])
    message = nft_set_elem_list_msg()
    message["nfgen_family"] = _FAMILY_IPV4
    message["version"] = 0
    message["res_id"] = 0
    message["attrs"] = [
        ["NFTA_SET_ELEM_LIST_TABLE", table],
        ["NFTA_SET_ELEM_LIST_SET", name],
        ["NFTA_SET_ELEM_LIST_ELEMENTS", [{"attrs": attributes}]],
    ]
    message["header"]["type"] = (NFNL_SUBSYS_NFTABLES << 8) | kind
    message["header"]["flags"] = flags
    return message


def _data(fields: Sequence[bytes]) -> Any:
    # Each field of a concatenation begins at a register of four bytes.
    value = b"".join(field + bytes(-len(field) % 4) for field in fields)
    return {"attrs": [["NFTA_DATA_VALUE", value]]}
