"""A small load generator for HTTP over unix sockets: requests a second, and times of single ones.

wrk knows no unix sockets. One round sends a request on every connection and then collects the
answers, so the server always has as many requests in hand as there are connections.
"""

from __future__ import annotations

import socket
import time
from statistics import median


class Connection:
    """One connection that reads whole answers, by length or in chunks."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)

    def send(self, request: bytes) -> None:
        self.socket.sendall(request)

    def receive(self) -> bytes:
        """Return the next answer, head and body; it must be the only one under way."""
        data = self.socket.recv(262144)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        if b"transfer-encoding: chunked" in head:
            while not data.endswith(b"0\r\n\r\n"):
                data += self._more()
            return data
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        while len(data) < end + 4 + length:
            data += self._more()
        return data

    def _more(self) -> bytes:
        chunk = self.socket.recv(262144)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        return chunk

    def close(self) -> None:
        self.socket.close()


def get(path: str) -> bytes:
    """Return the bytes of a GET request."""
    return b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()


def requests_per_second(
    server: str, path: str, *, connections: int = 8, seconds: float = 2.0
) -> float:
    """Return how many kept-alive GETs of `path` a second the server at `server` answers.

    Raises AssertionError when an answer is not 200.
    """
    clients = [Connection(server) for _ in range(connections)]
    request = get(path)
    clients[0].send(request)
    first = clients[0].receive()
    assert first.startswith(b"HTTP/1.1 200"), first[:200]
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        for client in clients:
            client.send(request)
        for client in clients:
            client.receive()
        done += connections
    for client in clients:
        client.close()
    return done / spent


def new_connections_per_second(server: str, path: str, *, seconds: float = 2.0) -> float:
    """Return how many GETs a second are answered when each has a connection of its own."""
    request = get(path)
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        client = Connection(server)
        client.send(request)
        assert client.receive().startswith(b"HTTP/1.1 200")
        client.close()
        done += 1
    return done / spent


def latency(server: str, path: str, *, count: int = 500) -> float:
    """Return the median time of one GET on a kept connection, in seconds."""
    client = Connection(server)
    request = get(path)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        client.send(request)
        client.receive()
        times.append(time.perf_counter() - start)
    client.close()
    return median(times)


def throughput(server: str, path: str) -> float:
    """Return the bytes a second of one GET's answer, read as fast as it comes."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(300)
    client.connect(server)
    client.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    size, start = 0, time.perf_counter()
    buffer = bytearray(1 << 20)
    while received := client.recv_into(buffer):
        size += received
    spent = time.perf_counter() - start
    client.close()
    return size / spent
