"""Where the upstream is: the text of `--engine` made into an endpoint of Twisted.

Rule: TLS is spoken exactly when its options are given, and then the server's name is verified.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from dockerapi.engine.errors import InvalidParameter
from dockerapi.tlsendpoint import TLSEndpoint
from dockerapi.upstream.tls import ClientTLS, HalfClosingFactory

#: How long connecting may take, in seconds.
CONNECT_TIMEOUT = 10.0


class Target(msgspec.Struct, frozen=True):
    """The upstream's address.

    :ivar text: as it was given, for messages.
    :ivar path: of its unix socket; None for TCP, where `host` and `port` are set.
    """

    text: str
    path: str | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str, *, tls: bool = False) -> Target:
        """Read ``unix:///PATH`` or ``tcp://HOST[:PORT]`` (port 2375, with TLS 2376).

        Raises `InvalidParameter` that names the text.
        """
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise InvalidParameter(f"no engine address (PROTO://ADDR): {text}")
        if scheme == "unix":
            if not rest.startswith("/"):
                raise InvalidParameter(f"an engine's unix socket needs an absolute path: {text}")
            return cls(text, path=rest)
        if scheme != "tcp":
            raise InvalidParameter(f"an engine is reached by unix:// or tcp://: {text}")
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port or (2376 if tls else 2375)
        except ValueError as error:
            raise InvalidParameter(f"no engine address: {text}: {error}") from None
        if not host or parts.path or parts.query or parts.fragment or parts.username is not None:
            raise InvalidParameter(f"no engine address (tcp://HOST:PORT): {text}")
        return cls(text, host=host, port=port)

    @property
    def authority(self) -> bytes:
        """What the Host header says."""
        if self.path is not None:
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("idna" if not self.host.isascii() else "ascii")

    def endpoint(self, reactor: object, tls: ClientTLS | None) -> IStreamClientEndpoint:
        """Return the endpoint; with `tls` it verifies the server's name.

        Raises `InvalidParameter` for TLS on a unix socket, or for bad certificates.
        """
        if self.path is not None:
            if tls is not None:
                raise InvalidParameter(f"TLS is not spoken on a unix socket: {self.text}")
            return UNIXClientEndpoint(reactor, self.path, timeout=CONNECT_TIMEOUT)
        endpoint = HostnameEndpoint(reactor, self.host, self.port, timeout=CONNECT_TIMEOUT)
        if tls is None:
            return endpoint
        return TLSEndpoint(endpoint, tls.options(self.host), HalfClosingFactory)
