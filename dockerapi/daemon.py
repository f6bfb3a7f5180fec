"""The daemon: the one place that knows every part.

Rule: it puts parts together and orders their start and end; it does nothing itself.
"""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any, TypeVar

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError, succeed
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi._version import __version__
from dockerapi.api.resource import ApiResource
from dockerapi.api.settings import ApiSettings
from dockerapi.engine.answers import Answer
from dockerapi.engine.backend import Backend
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError
from dockerapi.engine.job import Job
from dockerapi.http.counter import ConnectionCounter
from dockerapi.http.factory import HTTPFactory
from dockerapi.http.limits import Limits
from dockerapi.server.certificatefiles import BadCertificate
from dockerapi.server.idle import IdleExit
from dockerapi.server.limits import raise_descriptor_limit
from dockerapi.server.serveapi import Server
from dockerapi.server.systemd import (
    InheritedSockets,
    Init,
    process_environment,
    take_variables,
)
from dockerapi.settings import Settings, options
from dockerapi.shutdown import stop_all_containers

#: How long the reason of a failed start is told to clients, in seconds.
REASON_TOLD = 5.0
#: How long clients may take to read the last of their answers, in seconds.
LAST_BYTES = 1.0

#: The settings that the daemon itself, serveapi and the choice of the engine take.
OWN_SETTINGS = (
    *("hosts", "endpoints", "group", "backlog", "buffer_requests", "insecure_tcp"),
    *("tls", "tlsverify", "tlscacert", "tlscert", "tlskey", "engine"),
    *("api_enable_cors", "api_cors_header", "shutdown_timeout", "stop_containers", "idle_exit"),
    "raise_priority",
)

P = TypeVar("P", bound=msgspec.Struct)


@functools.cache
def inherited_from_init() -> tuple[InheritedSockets, Init]:
    """Return what init passed to this process; the same for every daemon in it."""
    variables = take_variables(os.environ, process_environment())
    pid = os.getpid()
    return InheritedSockets.from_variables(variables, pid), Init.from_variables(variables, pid)


def part_of(kind: type[P], settings: Settings, **more: Any) -> P:
    """Make the settings of one part from the fields of the same names.

    Raises TypeError for a field that is neither there nor in `more`.
    """
    fields = set(kind.__struct_fields__) - more.keys()
    if missing := {name for name in fields if not hasattr(settings, name)}:
        raise TypeError(f"{kind.__name__} has fields without a setting: {sorted(missing)}")
    return kind(**{name: getattr(settings, name) for name in fields}, **more)


class Daemon(Service):
    """A whole Docker Server as a service.

    It serves once. `startService` raises an `EngineError` when a host cannot be served; nothing is
    open then. The backend's `stop` is called whether or not its `start` came to an end.

    :ivar settings: as given.
    :ivar engine: what runs the jobs; handlers can be replaced before the start.
    :ivar server: the jobs `serveapi` and `acceptconnections`, with the open ports.
    :ivar ended: fires when the daemon wants to end (idle), fails when it cannot go on.
    """

    name = "dockerapi"
    log = Logger()

    def __init__(
        self,
        settings: Settings,
        *,
        reactor: Any = None,
        backend: Backend | None = None,
    ) -> None:
        """Put the parts together; nothing is opened or started.

        :param reactor: the installed one unless given.
        :param backend: instead of the one that `settings` name.
        """
        self.settings = settings
        self.reactor = reactor if reactor is not None else _installed_reactor()
        self.engine = Engine()
        self.engine.verbose = settings.debug
        inherited, self._init = inherited_from_init()
        self.server = Server(
            self.engine,
            self.reactor,
            self._factory,
            wrap_tls=self._wrap_tls,
            inherited=inherited,
            init=self._init,
        )
        self.server.register()
        self._used = set(OWN_SETTINGS)
        self.backend = backend if backend is not None else self._make_backend()
        self.backend.register(self.engine)
        self.api = self._make_api()
        self.ended: Deferred[None] = Deferred()
        self._idle = IdleExit(self.engine, settings.idle_exit, self.reactor, self._end)
        self._serving: Deferred[Answer] | None = None
        self._starting: Deferred[None] | None = None
        self._limits = Limits()
        self._connections: ConnectionCounter | None = None
        self._factories: list[HTTPFactory] = []

    def privilegedStartService(self) -> None:
        """Open the ports: the job `serveapi` begins."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if self._serving is not None:
            return
        self._warn_of_unused_settings()
        raise_descriptor_limit()
        connections = self._connections = ConnectionCounter(self._limits)
        if self.api.debug is not None:
            self.api.debug.variables["connections"] = lambda: {"open": connections.open}
        serving = self._serveapi().run().addErrback(self._serving_failed)
        failure = self.server.listening.failure
        if failure is not None:
            failure.raiseException()
        self._serving = serving

    def startService(self) -> None:
        """Open the ports unless that was done, and start the engine behind them."""
        self.privilegedStartService()
        super().startService()  # type: ignore[no-untyped-call]
        self._init.start_watchdog(self.reactor)
        self._starting = Deferred.fromCoroutine(self._start())
        if self.settings.idle_exit:
            if self._is_socket_activated():
                self._idle.start()
            else:
                self.log.warn("--idle-exit has no effect: only fd:// hosts can start this again")

    def stopService(self) -> Deferred[None]:
        """End: no new requests, running ones get `shutdown_timeout`, unix sockets are removed."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._serving is None:
            return succeed(None)
        self._serving = None
        return Deferred.fromCoroutine(self._stop())

    def reload(self) -> None:
        """Load the certificates again (SIGHUP); what is wrong with them is logged."""
        serving = self.engine.activation.active
        if serving:
            # Until then init waits for the first READY=1, which this must not send too early.
            self._init.reloading()
        try:
            self.server.reload()
            self.log.info("reloaded the certificates")
        except BadCertificate as error:
            self.log.error("kept the old certificates: {error}", error=error.message)
        finally:
            if serving:
                self._init.ready()

    def _serveapi(self) -> Job:
        """Make and configure the job `serveapi`."""
        settings = self.settings
        job = self.engine.job("serveapi", *settings.listen_on)
        job.setenv_bool("Logging", True)
        job.setenv_bool("EnableCors", bool(settings.cors_origins))
        job.setenv("Version", __version__)
        job.setenv("SocketGroup", settings.group)
        job.setenv_bool("Tls", settings.tls)
        job.setenv_bool("TlsVerify", settings.tlsverify)
        job.setenv("TlsCa", settings.tlscacert)
        job.setenv("TlsCert", settings.tlscert)
        job.setenv("TlsKey", settings.tlskey)
        job.setenv_bool("BufferRequests", settings.buffer_requests)
        job.setenv_int("Backlog", settings.backlog)
        job.setenv_bool("InsecureTcp", settings.insecure_tcp)
        return job

    def _serving_failed(self, failure: Failure) -> None:
        if self.running:
            self._give_up(failure)

    async def _start(self) -> None:
        try:
            await self.backend.start()
            await self.server.listening.wait()
            await self.engine.job("acceptconnections").run()
        except CancelledError:
            raise
        except Exception:
            await self._start_failed(Failure())

    async def _start_failed(self, failure: Failure) -> None:
        """Tell clients and init why for a while, then give up."""
        if self.server.listening.failure is not None:
            return
        text = f"the engine did not start: {failure.getErrorMessage()}"
        if failure.check(EngineError):
            self.log.error("{text}", text=text)
        else:
            self.log.failure("{text}", failure=failure, text=text)
        self._init.status(text)
        self.engine.activation.fail(failure)
        await deferLater(self.reactor, REASON_TOLD)
        self._give_up(failure)

    async def _stop(self) -> None:
        self._init.stopping()
        self._idle.stop()
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.addErrback(_ignore_cancellation)
            starting.cancel()
        await self.server.stop()
        if self.settings.stop_containers and self.engine.activation.active:
            await stop_all_containers(self.engine, self.backend)
        await self.engine.shutdown(self.settings.shutdown_timeout, self.reactor)
        self.server.gate.open()
        # The last answers are written in this turn of the reactor, after their jobs have ended.
        await deferLater(self.reactor, 0)
        try:
            await self.backend.stop()
        except Exception:
            self.log.failure("the engine did not stop well")
        await self._end_connections()
        self.api.close()
        self._init.stop_watchdog()

    async def _end_connections(self) -> None:
        """Let what was answered arrive, within a second."""
        factories, self._factories = self._factories, []
        ending = [factory.end("the server ends") for factory in factories]
        everyone = DeferredList(ending, consumeErrors=True)
        everyone.addTimeout(LAST_BYTES, self.reactor)
        with contextlib.suppress(TimeoutError):
            await everyone

    def _part(self, kind: type[P], **more: Any) -> P:
        self._used |= set(kind.__struct_fields__)
        return part_of(kind, self.settings, **more)

    def _warn_of_unused_settings(self) -> None:
        """Say what was asked for and changes nothing here; silence would look like consent."""
        defaults = Settings()
        for option in options():
            name = option.field
            if name not in self._used and getattr(self.settings, name) != getattr(defaults, name):
                self.log.warn("--{name} has no effect on this engine", name=option.name)

    def _is_socket_activated(self) -> bool:
        return all(host.startswith("fd://") for host in self.settings.listen_on)

    def _end(self) -> None:
        self.log.info("nobody used this server for {seconds} s", seconds=self.settings.idle_exit)
        if not self.ended.called:
            self.ended.callback(None)

    def _give_up(self, failure: Failure) -> None:
        if not self.ended.called:
            self.ended.errback(failure)

    def _factory(self, listener: str) -> IProtocolFactory:
        factory = HTTPFactory(
            self.server.gate.guard(self._dispatch),
            listener=listener,
            limits=self._limits,
            clock=self.reactor,
            connections=self._connections,
        )
        self._factories.append(factory)
        return factory

    def _wrap_tls(
        self, creator: IOpenSSLServerConnectionCreator, factory: IProtocolFactory
    ) -> IProtocolFactory:
        # Here, since a server without TLS does not load it (see `dockerapi.lean`).
        from dockerapi.http.tlshalfclose import HalfCloseTLSFactory

        return HalfCloseTLSFactory(creator, factory, self.reactor)

    def _dispatch(self, request: Any) -> None:
        self._idle.touch()
        self.api.dispatch(request)

    def _make_api(self) -> ApiResource:
        settings = self._part(ApiSettings, logging=True, version=__version__)
        return ApiResource(self.engine, settings, self.reactor)

    def _make_backend(self) -> Backend:
        if self.settings.engine != "embedded":
            from dockerapi.upstream.backend import UpstreamBackend

            return UpstreamBackend(self.settings.engine, reactor=self.reactor)
        from dockerapi.local.backend import LocalBackend, LocalSettings

        local = self._part(LocalSettings)
        return LocalBackend(local, self.engine, self.reactor)


def _ignore_cancellation(failure: Failure) -> None:
    failure.trap(CancelledError)


def _installed_reactor() -> Any:
    from twisted.internet import reactor

    return reactor
