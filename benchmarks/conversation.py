"""The API's own conversation of a `docker run`, over kept connections and without the CLI.

Rule: what is timed is from the first byte of the first request to the last answer's; requests and
answers are handled as cheaply as Python can, so that what remains is the server's.
"""

from __future__ import annotations

import json
import time

from benchmarks.load import Connection


def post(path: str, body: object = None) -> bytes:
    """Return the bytes of a POST request."""
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Conversation:
    """Two kept connections to the server at `socket`: one that asks, one that waits."""

    def __init__(self, socket: str) -> None:
        self._asks = Connection(socket)
        self._waits = Connection(socket)

    def close(self) -> None:
        self._asks.close()
        self._waits.close()

    def create(self, command: list[str], **host: object) -> str:
        """Create a container of busybox without a network of its own, and return its id."""
        body = {
            "Image": "busybox",
            "Cmd": command,
            "HostConfig": {"NetworkMode": "none", **host},
        }
        return str(json.loads(self._ask(post("/containers/create", body), b"201"))["Id"])

    def life(self) -> float:
        """Create, wait for, and start a container of `true`; return the seconds up to its end.

        That is the engine's own part of `docker run --rm`, and the container's life of about a
        millisecond.
        """
        before = time.perf_counter()
        identity = self.create(["true"], AutoRemove=True)
        self._waits.send(post(f"/containers/{identity}/wait?condition=removed"))
        # The head comes at once: from then on the end cannot be missed.
        head = self._waits.socket.recv(65536)
        assert head.startswith(b"HTTP/1.1 200"), head
        self._ask(post(f"/containers/{identity}/start"), b"204")
        body = head.partition(b"\r\n\r\n")[2]
        while not body.endswith(b"0\r\n\r\n"):
            chunk = self._waits.socket.recv(65536)
            assert chunk, "the server closed the connection"
            body += chunk
        return time.perf_counter() - before

    def _ask(self, request: bytes, status: bytes) -> bytes:
        self._asks.send(request)
        answer = self._asks.receive()
        assert answer[9:12] == status, answer[:300]
        return answer.partition(b"\r\n\r\n")[2]
