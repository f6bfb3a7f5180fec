"""The operations of the tag Exec: a further process in a container that runs.

Rule: an exec's exit code can be read before its stream ends; it runs on when its client leaves.
"""

from __future__ import annotations

import secrets
import time

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime

from dockerapi.engine.answers import Answer, Hijack
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.engine.events import Event, EventBus
from dockerapi.engine.job import Job
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.execs.exec import Exec
from dockerapi.local.containers.execs.process import ExecProcesses
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.life.transitions import Operation, check
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime.places import Places
from dockerapi.local.containers.runtime.tools import Toolbox
from dockerapi.local.containers.security.zeros import refuse_zero_bytes
from dockerapi.local.containers.streams.attach import resize
from dockerapi.local.containers.streams.detachkeys import DEFAULT, parse_detach_keys
from dockerapi.local.containers.streams.hub import Hub
from dockerapi.local.containers.streams.streaming import Left, Wanted, stream
from dockerapi.model.execs import ExecConfig, ExecCreateRequest, ExecRequest, ExecStartRequest
from dockerapi.model.streams import ResizeRequest, stream_type
from dockerapi.wire.duplex import Duplex
from dockerapi.wire.stdcopy import STDOUT, frame

#: How many execs of a container may wait or run: those that nobody starts stay in memory.
MOST = 5000
#: How long an exec that has ended can be inspected, in seconds (dockerd: 5 minutes).
REMEMBERED = 300.0
#: How often those that are older are looked for, in seconds.
_FORGET_EVERY = 30.0
#: How long resizing an exec waits for its process, in seconds (as dockerd).
PATIENCE = 10.0


class Execs(Observer):
    """The execs of all containers."""

    def __init__(
        self,
        registry: Registry,
        places: Places,
        toolbox: Toolbox,
        events: EventBus,
        reactor: IReactorFDSet,
        clock: IReactorTime,
    ) -> None:
        self._registry = registry
        self._toolbox = toolbox
        self._events = events
        self._reactor = reactor
        self._clock = clock
        self._execs: dict[str, Exec] = {}
        self._alarm: IDelayedCall | None = None
        self._processes = ExecProcesses(places, self._died, clock)

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("ContainerExec", self.create)
        engine.register("ExecStart", self.start, follows=True)
        engine.register("ExecInspect", self.inspect)
        engine.register("ExecResize", self.resize)

    def stop(self) -> None:
        """Leave all execs; they run on."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._processes.stop()
        for each in self._execs.values():
            each.hub.close()

    def ended(self, container: Container) -> None:
        """Forget the execs that were never started: they belong to the run that is over."""
        for identity in tuple(container.exec_ids):
            found = self._execs.get(identity)
            if found is not None and not found.started:
                self.forget(found)

    async def create(self, job: Job) -> Answer:
        """Answer ContainerExec.

        Raises `Conflict` for a container that cannot run one, `InvalidParameter` for a user or
        group that it does not know.
        """
        request = await job.request(ExecCreateRequest)
        container = self._registry.get(request.container)
        check(Operation.EXEC, container, request.container)
        keys = b""
        if request.config.detach_keys:
            keys = _escape_keys(request.config.detach_keys)
        refuse_zero_bytes(request.config)
        if request.config.user:
            await self._processes.check_user(container, request.config.user)
            # It may have ended meanwhile.
            check(Operation.EXEC, container, request.container)
        return {"Id": self.make(container, request.config, keys).id}

    def make(self, container: Container, config: ExecConfig, keys: bytes = b"") -> Exec:
        """Make an exec in a container that runs; raise `Conflict` where it has too many."""
        if len(container.exec_ids) >= MOST:
            self._forget_old()
        if len(container.exec_ids) >= MOST:
            raise Conflict(f"container {container.id} has {MOST} execs that have not ended")
        made = Exec(secrets.token_hex(32), container, config, Hub(self._reactor), keys)
        self._execs[made.id] = made
        container.exec_ids.append(made.id)
        if self._alarm is None:
            self._alarm = self._clock.callLater(_FORGET_EVERY, self._ring)
        # It is likely to be started next.
        self._toolbox.grace.begin()
        self._publish(made, _action("exec_create", made))
        return made

    async def inspect(self, job: Job) -> Answer:
        """Answer ExecInspect."""
        request = await job.request(ExecRequest)
        return self._get(request.exec_id).document()

    async def resize(self, job: Job) -> Answer:
        """Answer ExecResize; raises `Conflict` for an exec that does not run any more.

        One that does not run yet is waited for: clients ask as soon as they have the connection.
        """
        request = await job.request(ResizeRequest)
        found = self._get(request.target)
        beginning = Deferred.fromCoroutine(found.begun())
        try:
            await beginning.addTimeout(PATIENCE, self._clock)
        except DeferredTimeout:
            raise EngineError("timeout waiting for exec session ready") from None
        if found.running and not found.config.tty:
            # Nothing has a size; as in dockerd that is no error.
            return None
        watch = self._processes.watch(found)
        if not found.running or not await resize(watch, request.height, request.width):
            raise Conflict(f"exec process {found.id} is not running")
        return None

    async def start(self, job: Job) -> Answer:
        """Answer ExecStart: with the connection, or, detached, when the process runs.

        As in dockerd what is wrong with the exec itself is told in its stream, where it has one.
        """
        request = await job.request(ExecStartRequest)
        found = self._get(request.exec_id)
        check(Operation.EXEC, found.container, found.container.id)
        if request.detach:
            await self.run(found, request.console_size, attached=False)
            return None
        framed = not request.tty

        async def serve(duplex: Duplex) -> None:
            await self._serve(found, request, duplex, framed=framed)

        return Hijack(serve, stream_type(request.version, framed=framed))

    async def _serve(
        self, found: Exec, request: ExecStartRequest, duplex: Duplex, *, framed: bool
    ) -> None:
        config = found.config
        outputs = [n for n, on in ((1, config.attach_stdout), (2, config.attach_stderr)) if on]
        follower = found.hub.follow(() if found.started else outputs, framed=framed)
        try:
            await self.run(found, request.console_size)
            wanted = Wanted(
                stdin=config.attach_stdin,
                output=bool(outputs),
                once=not config.tty,
                detach=(found.keys or DEFAULT) if config.tty else None,
            )
            left = Left.INPUT
            if wanted.stdin or wanted.output:
                left = await stream(found.hub, follower, duplex, wanted)
        except EngineError as error:
            # The head is out: the reason goes where the output would have gone.
            reason = f"{error.message}\r\n".encode("utf-8", "backslashreplace")
            await duplex.write(frame(STDOUT, reason) if framed else reason)
            return
        finally:
            follower.leave()
        if left is Left.DETACHED:
            self._publish(found, "exec_detach")
        elif left is Left.ENDED:
            await found.ended()

    async def run(
        self, found: Exec, size: tuple[int, int] | None = None, *, attached: bool = True
    ) -> None:
        """Run the process of an exec; returns when it exists.

        `size` is its terminal's first. Raises `Conflict` where it was started before, and
        `ExecFailed` in the runtime's words.
        """
        if found.started:
            state = "is already running" if found.exit_code is None else "has already run"
            raise Conflict(f"exec command {found.id} {state}")
        tools = self._toolbox.require()
        self._toolbox.grace.begin()
        found.started = True
        self._publish(found, _action("exec_start", found))
        await self._processes.run(found, tools, size or found.config.size, attached=attached)

    def _get(self, exec_id: str) -> Exec:
        found = self._execs.get(exec_id)
        if found is None or found.container.id not in self._registry or found.forgotten:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def forget(self, made: Exec) -> None:
        """Let an exec be inspected no more, unless it runs: then it is forgotten after its end."""
        if made.started and made.exit_code is None:
            return
        self._execs.pop(made.id, None)
        if made.id in made.container.exec_ids:
            made.container.exec_ids.remove(made.id)

    def _ring(self) -> None:
        self._forget_old()
        self._alarm = self._clock.callLater(_FORGET_EVERY, self._ring) if self._execs else None

    def _forget_old(self) -> None:
        """Forget execs that ended a while ago, and those that cannot be started any more."""
        before = time.monotonic() - REMEMBERED
        for each in tuple(self._execs.values()):
            removed = each.container.id not in self._registry or each.forgotten
            if removed or (each.exit_code is not None and each.ended_at < before):
                self.forget(each)

    def _died(self, found: Exec, code: str) -> None:
        self._publish(found, "exec_die", exitCode=code)

    def _publish(self, found: Exec, action: str, **more: str) -> None:
        container = found.container
        attributes = container.event_attributes(execID=found.id, **more)
        self._events.publish(Event("container", action, container.id, attributes))


def _action(name: str, found: Exec) -> str:
    """Return an event's action with the exec's command, as dockerd: a space follows the program."""
    program, *arguments = found.command
    return f"{name}: {program} {' '.join(arguments)}"


def _escape_keys(text: str) -> bytes:
    """Return detach keys as bytes; what are none is refused in other words than for attach."""
    try:
        return parse_detach_keys(text)
    except InvalidParameter:
        raise InvalidParameter(f"Invalid escape keys ({text}) provided") from None
