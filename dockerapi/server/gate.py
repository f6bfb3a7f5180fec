"""The gate: ports that listen and do not accept yet, and requests that are held.

Source: Docker 1.2's `pkg/listenbuffer`. Rule: while the gate is closed clients wait in the
kernel's queue, in order, and nothing in this process grows with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger


class Held(Protocol):
    """What the gate asks of a request that it holds."""

    @property
    def gone(self) -> bool:
        """Whether its client has left."""
        ...

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Have `callback` called when its client leaves."""
        ...


H = TypeVar("H", bound=Held)


class Gate:
    """Closed from birth; `open` serves everyone in order of arrival, `close` holds them again.

    :ivar is_open: whether requests pass.
    :ivar ports: the ports behind the gate. A paused port is in no reactor's list: these are the
        references that keep it alive.
    """

    log = Logger()

    def __init__(self) -> None:
        self.is_open = False
        self.ports: list[IListeningPort] = []
        self._held: dict[int, Callable[[], None]] = {}
        self._count = 0

    @property
    def held(self) -> int:
        """The number of requests that wait on connections which were accepted."""
        return len(self._held)

    def listen(
        self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory
    ) -> Deferred[IListeningPort]:
        """Open a port; while the gate is closed it is paused in the turn in which it opens."""
        return endpoint.listen(factory).addCallback(self._keep)

    def guard(self, dispatch: Callable[[H], None]) -> Callable[[H], None]:
        """Return `dispatch` behind the gate; a request whose client has left is not run."""

        def guarded(request: H) -> None:
            if self.is_open:
                dispatch(request)
            else:
                self._hold(dispatch, request)

        return guarded

    def open(self) -> None:
        """Serve everyone: those held first, then those in the kernel's queue."""
        if self.is_open:
            return
        self.is_open = True
        for port in self.ports:
            _resume(port)
        held, self._held = self._held, {}
        for run in held.values():
            try:
                run()
            except Exception:
                self.log.failure("a request that was held failed")

    def close(self) -> None:
        """Hold everyone who comes from now on."""
        if self.is_open:
            self.is_open = False
            for port in self.ports:
                _pause(port)

    def stop(self) -> Deferred[None]:
        """Stop every port; the Deferred fires when their sockets are closed."""
        ports, self.ports = self.ports, []
        stopping = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList(stopping, consumeErrors=True).addCallback(lambda _: None)

    def _keep(self, port: IListeningPort) -> IListeningPort:
        self.ports.append(port)
        if not self.is_open:
            _pause(port)
        return port

    def _hold(self, dispatch: Callable[[H], None], request: H) -> None:
        self._count += 1
        key = self._count

        def run() -> None:
            if not request.gone:
                dispatch(request)

        def forget() -> None:
            self._held.pop(key, None)

        self._held[key] = run
        request.on_gone(forget)


def _pause(port: IListeningPort) -> None:
    """Stop accepting, where the port can: other people's endpoints may make ports that cannot."""
    if isinstance(port, FileDescriptor):
        port.pauseProducing()  # type: ignore[no-untyped-call]


def _resume(port: IListeningPort) -> None:
    if isinstance(port, FileDescriptor):
        port.resumeProducing()  # type: ignore[no-untyped-call]
