"""Servers in containers, and clients that are let through to them or not."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from dockerapi.local.networks.namespaces import in_namespace
from dockerapi.local.networks.sandbox import Sandbox
from dockerapi.model.ports import Port
from tests.local.networks.support import BLOCKED

TCP = Port(80)
UDP = Port(53, "udp")
#: How long a client waits for what is to come, in seconds; see also `BLOCKED`.
PATIENCE = 60.0


class Echo:
    """A server in a container, of TCP and UDP, that tells the client's address and echoes."""

    def __init__(self, sandbox: Sandbox, tcp: Port = TCP, udp: Port = UDP) -> None:
        assert sandbox.path is not None
        self._listener, self._bound = in_namespace(sandbox.path, lambda: self._open(tcp, udp))
        for work in (self._accept, self._answer):
            threading.Thread(target=work, daemon=True).start()

    @staticmethod
    def _open(tcp: Port, udp: Port) -> tuple[socket.socket, socket.socket]:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind(("", udp.number))
        return socket.create_server(("", tcp.number)), bound

    def close(self) -> None:
        """End it."""
        for one in (self._listener, self._bound):
            # Not a close: it would not wake the threads that wait there.
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    @staticmethod
    def _serve(client: socket.socket) -> None:
        """Send back all that comes, and a word after the end of input."""
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
                client.sendall(b"bye")
            except OSError:
                return

    def _answer(self) -> None:
        while True:
            try:
                data, client = self._bound.recvfrom(65536)
                if client is None:
                    return
                self._bound.sendto(data, client)
            except OSError:
                return


def reaches(address: str, port: int) -> bool:
    """Tell whether a connection is made."""
    try:
        socket.create_connection((address, port), timeout=BLOCKED).close()
    except OSError:
        return False
    return True


def talk(
    address: str, port: int, data: bytes = b"hello", patience: float = PATIENCE
) -> bytes | None:
    """Send `data` by TCP, end the output, and return all that comes; None where it is blocked."""
    try:
        with socket.create_connection((address, port), timeout=patience) as connection:
            connection.settimeout(60)
            sender = threading.Thread(target=_send, args=(connection, data))
            sender.start()
            found = bytearray()
            while part := connection.recv(65536):
                found += part
            sender.join()
            return bytes(found)
    except OSError:
        return None


def _send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return


def ask(
    address: str, port: int, data: bytes = b"hello", patience: float = PATIENCE
) -> bytes | None:
    """Send `data` by UDP until an answer comes, and return that; None where none comes."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    end = time.monotonic() + patience
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.settimeout(min(1.0, patience))
        while time.monotonic() < end:
            with suppress(OSError):
                bound.connect((address, port))
                bound.send(data)
                return bound.recv(65536)
            # Refused at once, perhaps.
            time.sleep(0.05)
    return None
