"""The jobs `serveapi` and `acceptconnections`.

Source: Docker 1.2's `api/server/server.go`. Rule: the first host that fails fails the job, and
nothing it opened stays open.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.engine.activation import Activation
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, InvalidParameter
from dockerapi.engine.job import Job
from dockerapi.server.certificatefiles import BadCertificate, TlsFiles
from dockerapi.server.endpoints import EndpointMaker, Opening, Policy, why_not
from dockerapi.server.gate import Gate
from dockerapi.server.hosts import BadHost, EndpointHost, Host, parse_host, show_address
from dockerapi.server.limits import warn_of_short_queue
from dockerapi.server.systemd import InheritedSockets, Init

if TYPE_CHECKING:
    from dockerapi.server.tls import ServerCertificates

USAGE = "usage: serveapi PROTO://ADDR [PROTO://ADDR ...]"

#: Makes the factory that serves what comes by a host string.
FactoryMaker = Callable[[str], IProtocolFactory]
#: Puts TLS round a factory.
TlsWrapper = Callable[[IOpenSSLServerConnectionCreator, IProtocolFactory], IProtocolFactory]


def wrap_plainly(
    creator: IOpenSSLServerConnectionCreator, factory: IProtocolFactory
) -> IProtocolFactory:
    """Put Twisted's own TLS round `factory` (it does not keep half-closed streams)."""
    # Here, since a server without TLS does not load it (see `dockerapi.lean`).
    from twisted.protocols.tls import TLSMemoryBIOFactory

    return TLSMemoryBIOFactory(creator, False, factory)


class Server:
    """Serves one engine's API on the hosts of the job `serveapi`.

    :ivar gate: closed until the engine is active (or its start has failed, which the engine then
        tells everyone who asks).
    :ivar listening: fires when all ports are open, fails with what failed.
    :ivar certificates: what TLS serves with, where it does.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        reactor: Any,
        factory: FactoryMaker,
        *,
        wrap_tls: TlsWrapper = wrap_plainly,
        inherited: InheritedSockets | None = None,
        init: Init | None = None,
    ) -> None:
        """Prepare; `factory` is called with the host string of each port that is opened."""
        self.engine = engine
        self.gate = Gate()
        self.listening = Activation()
        self.certificates: ServerCertificates | None = None
        self._reactor = reactor
        self._factory = factory
        self._wrap_tls = wrap_tls
        self._inherited = inherited if inherited is not None else InheritedSockets({})
        self._init = init if init is not None else Init()
        self._ended: Deferred[None] | None = None

    def register(self) -> None:
        """Register both jobs with the engine."""
        self.engine.register("serveapi", self.serveapi, early=True, serves=True)
        self.engine.register("acceptconnections", self.acceptconnections, early=True)

    @property
    def addresses(self) -> list[object]:
        """The addresses of the open ports, in the order of their hosts."""
        return [port.getHost() for port in self.gate.ports]

    async def serveapi(self, job: Job) -> None:
        """Serve on the hosts that are the job's arguments, until `stop` or cancellation.

        Environment: SocketGroup, Tls, TlsVerify, TlsCa, TlsCert, TlsKey and BufferRequests as in
        the source; Backlog (a number) and InsecureTcp are ours.
        """
        if not job.args or any("://" not in argument for argument in job.args):
            raise self._failed(InvalidParameter(USAGE))
        if self._ended is not None:
            raise Conflict("this server serves already")
        ended = self._ended = Deferred()
        try:
            await self._open_all(job)
            self.listening.activate()
            await ended
        except BaseException as error:
            raise self._failed(error) from None
        finally:
            self._ended = None
            await self.gate.stop()

    async def acceptconnections(self, job: Job) -> None:
        """Tell init that we serve, and activate the engine; a second time changes nothing."""
        if not self.engine.activation.active:
            self._init.ready()
            self.engine.activation.activate()

    def reload(self) -> None:
        """Load the certificates again; raises `BadCertificate` and keeps the old ones."""
        if self.certificates is not None:
            self.certificates.reload()

    async def stop(self) -> None:
        """Close all ports, remove their unix sockets, and end the job `serveapi`."""
        await self.gate.stop()
        ended = self._ended
        if ended is not None and not ended.called:
            ended.callback(None)

    def _failed(self, error: BaseException) -> BaseException:
        self.listening.fail(Failure(error))
        return error

    async def _open_all(self, job: Job) -> None:
        policy = _policy(job)
        hosts = [parse_host(text, tls=policy.tls) for text in job.args]
        self.certificates = _certificates(job, hosts, policy)
        warn_of_short_queue(policy.backlog)
        self._gate_follows_engine(buffered=job.getenv_bool("BufferRequests"))
        maker = EndpointMaker(self._reactor, policy, self._inherited)
        for host in hosts:
            for opening in maker.openings(host):
                await self._open(maker, opening)

    def _gate_follows_engine(self, *, buffered: bool) -> None:
        if buffered:
            self.engine.activation.wait().addBoth(lambda _: self.gate.open())
        else:
            self.gate.open()

    async def _open(self, maker: EndpointMaker, opening: Opening) -> None:
        host = opening.host
        factory = self._factory(host.text)
        if opening.tls and self.certificates is not None:
            factory = self._wrap_tls(self.certificates, factory)
        try:
            port = await self.gate.listen(opening.endpoint, factory)
        except BadHost:
            raise
        except Exception as error:
            raise BadHost(host.text, why_not(error)) from None
        if isinstance(host, EndpointHost):
            maker.check_address(host, port.getHost())
        self.log.info(
            "Listening for HTTP on {proto} ({address})",
            proto=host.proto,
            address=_shown(host, port),
        )


def _policy(job: Job) -> Policy:
    verified = job.getenv_bool("TlsVerify")
    return Policy(
        group=job.getenv("SocketGroup"),
        backlog=job.getenv_int("Backlog") or Policy().backlog,
        tls=verified or job.getenv_bool("Tls"),
        verified=verified,
        insecure_tcp=job.getenv_bool("InsecureTcp"),
    )


def _certificates(job: Job, hosts: list[Host], policy: Policy) -> ServerCertificates | None:
    """Load the certificates where a host needs them; the first such host is named if they fail."""
    needing = [host for host in hosts if _wants_tls(host, policy)]
    if not needing:
        return None
    # Here, as in `wrap_plainly`.
    from dockerapi.server.tls import ServerCertificates

    authority = Path(job.getenv("TlsCa")) if policy.verified else None
    files = TlsFiles(Path(job.getenv("TlsCert")), Path(job.getenv("TlsKey")), authority)
    try:
        return ServerCertificates(files)
    except BadCertificate as error:
        raise BadHost(needing[0].text, error.message) from None


def _wants_tls(host: Host, policy: Policy) -> bool:
    return host.proto == "ssl" or (policy.tls and host.proto in ("tcp", "fd", "endpoint"))


def _shown(host: Host, port: IListeningPort) -> str:
    """Return the address for the log: the real one of a TCP port."""
    address = port.getHost()
    if isinstance(address, IPv4Address | IPv6Address) and host.proto in ("tcp", "ssl"):
        return show_address(address.host, address.port)
    return host.shown
