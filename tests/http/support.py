"""Helpers for tests that speak HTTP/1.1 to a channel, in memory or over real sockets."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import h11
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread

from dockerapi.http.channel import HTTPChannel
from dockerapi.http.factory import HTTPFactory
from dockerapi.http.framing import LAST_CHUNK, chunk
from dockerapi.http.interfaces import HeaderList
from dockerapi.http.limits import Limits
from dockerapi.http.request import Request
from dockerapi.wire.duplex import StreamAborted
from tests.server.certificates import Authority


class Wire(StringTransport):
    """A transport in memory that remembers how it was closed, and each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.half_closed = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        if data and not self.half_closed and not self.disconnecting:
            self.writes.append(data)
            super().write(data)

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    @property
    def reading(self) -> bool:
        return self.producerState == "producing"

    @property
    def closed(self) -> bool:
        return bool(self.disconnecting or self.half_closed or self.aborted)


@attrs.define
class Connection:
    """A channel on a `Wire`.

    :ivar requests: all that was dispatched.
    """

    dispatch: Callable[[Request], None] | None = None
    limits: Limits = attrs.field(factory=lambda: Limits(settle_seconds=0))
    clock: Clock = attrs.field(factory=Clock)
    wire: Wire = attrs.field(factory=Wire)
    requests: list[Request] = attrs.field(factory=list)
    channel: HTTPChannel = attrs.field(init=False)
    factory: HTTPFactory = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        def dispatch(request: Request) -> None:
            self.requests.append(request)
            if self.dispatch is not None:
                self.dispatch(request)

        self.factory = HTTPFactory(
            dispatch, listener="tcp://test", limits=self.limits, clock=self.clock
        )
        channel = self.factory.buildProtocol(None)
        assert channel is not None
        self.channel = channel
        channel.makeConnection(self.wire)

    def send(self, data: bytes, size: int | None = None) -> None:
        """Deliver `data`, in parts of `size` bytes, as long as the server reads."""
        for at in range(0, len(data), size or len(data) or 1):
            if self.wire.disconnecting or self.wire.aborted:
                return
            self.channel.dataReceived(data[at : at + (size or len(data))])

    @property
    def sent(self) -> bytes:
        """What the server has sent."""
        return self.wire.value()


def get(path: bytes = b"/", *headers: bytes, method: bytes = b"GET") -> bytes:
    """Return a request without a body."""
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: docker", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(body: bytes, *headers: bytes, path: bytes = b"/") -> bytes:
    """Return a request with a body of known length."""
    return get(path, b"Content-Length: %d" % len(body), *headers, method=b"POST") + body


def chunked(*parts: bytes, path: bytes = b"/") -> bytes:
    """Return a request whose body is chunked."""
    head = get(path, b"Transfer-Encoding: chunked", method=b"POST")
    return head + b"".join(map(chunk, parts)) + LAST_CHUNK


def start(coroutine: Any) -> Deferred[Any]:
    """Run a coroutine as far as it goes."""
    return Deferred.fromCoroutine(coroutine)


def let(coroutine: Any) -> None:
    """Let a handler run; that its client leaves is no error."""
    start(coroutine).addErrback(lambda failure: failure.trap(StreamAborted))


@attrs.frozen
class Answer:
    status: int
    reason: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


def answers(data: bytes, *methods: str, eof: bool = False) -> list[Answer]:
    """Read `data` with h11 as the answers to requests with `methods` (one GET by default)."""
    client = h11.Connection(h11.CLIENT)
    found = []
    client.receive_data(data)
    if eof:
        client.receive_data(b"")
    for method in methods or ("GET",):
        client.send(h11.Request(method=method, target="/", headers=[("Host", "d")]))
        client.send(h11.EndOfMessage())
        body = b""
        head: Any = None
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise AssertionError(f"no whole answer: {event!r} in {data!r}")
        found.append(Answer(head.status_code, bytes(head.reason), list(head.headers), body))
        if client.our_state is h11.DONE and client.their_state is h11.DONE:
            client.start_next_cycle()
    return found


PLAIN = ((b"Content-Type", b"text/plain"),)


def ok(request: Request) -> None:
    """Answer with the path that was asked for."""
    request.respond(200, PLAIN, request.target)


async def echo(request: Request) -> None:
    """Answer with the request's body, while it comes in."""
    sink = request.stream(200, [(b"Content-Type", b"application/octet-stream")])
    while data := await request.body.read():
        await sink.write(data)
    await sink.close_write()


UPGRADE: HeaderList = [(b"Connection", b"Upgrade"), (b"Upgrade", b"tcp")]


async def echo_raw(request: Request) -> None:
    """Take the connection over and send back what comes, until the client half-closes."""
    while await request.body.read():
        pass
    duplex = request.hijack(101, UPGRADE, b"UPGRADED")
    while data := await duplex.read():
        await duplex.write(data)
    await duplex.write(b"<end>")
    await duplex.close_write()


@attrs.define
class Listener:
    """A port on loopback or on a unix socket, and how to reach it with a blocking socket."""

    kind: str
    port: Any
    directory: tempfile.TemporaryDirectory[str]
    client_context: Any = None

    def connect(self) -> socket.socket:
        """Return a plain connection (blocking; to be used in a thread)."""
        if self.kind == "unix":
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(60)
            client.connect(self.directory.name + "/socket")
            return client
        return socket.create_connection(("127.0.0.1", self.port.getHost().port), 10)

    def connect_tls(self) -> SSL.Connection:
        """Return a TLS connection (blocking)."""
        plain = self.connect()
        plain.setblocking(True)
        client = SSL.Connection(self.client_context, plain)
        client.set_connect_state()
        client.do_handshake()
        return client

    async def close(self) -> None:
        await maybeDeferred(self.port.stopListening)
        self.directory.cleanup()


async def listen(factory: Any, kind: str, context: Any = None) -> Listener:
    """Listen with `factory`; `kind` is tcp, unix or tls (for which pass OpenSSL options)."""
    directory = tempfile.TemporaryDirectory(prefix="http-")
    where = f"unix:{directory.name}/socket" if kind == "unix" else "tcp:0:interface=127.0.0.1"
    endpoint = serverFromString(reactor, where)
    port = await endpoint.listen(factory)
    return Listener(kind, port, directory, context)


def in_thread(function: Callable[..., Any], *args: Any) -> Awaitable[Any]:
    """Run blocking client code beside the reactor."""
    return deferToThread(function, *args)


def receive_all(client: Any) -> bytes:
    """Read a blocking connection to its end."""
    data = b""
    while True:
        try:
            part = client.recv(65536)
        except (SSL.ZeroReturnError, ssl.SSLZeroReturnError):
            return data
        except SSL.SysCallError as error:
            if error.args[0] == -1:
                return data
            raise
        if not part:
            return data
        data += part


def make_certificates(directory: Path) -> tuple[Any, Any]:
    """Make an authority; return a server's CertificateOptions and a client's SSL.Context."""
    authority = Authority(directory)
    server = PrivateCertificate.loadPEM(b"".join(map(Path.read_bytes, authority.issue("server"))))
    options = server.options(Certificate.loadPEM(authority.path.read_bytes()))
    certificate, key = authority.issue("client")
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate_file(str(certificate))
    context.use_privatekey_file(str(key))
    return options, context
