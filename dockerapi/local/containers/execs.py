"""The operations of the tag Exec: a further process in a container that runs.

Rule: an exec's exit code can be read before its stream ends; it runs on when its client leaves.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.logger import Logger

from dockerapi.engine.answers import Answer, Hijack
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.engine.events import Event, EventBus
from dockerapi.engine.job import Job
from dockerapi.local.containers.attach import resize
from dockerapi.local.containers.conmon import RuntimeFailed, Watch, launch
from dockerapi.local.containers.container import Container
from dockerapi.local.containers.detachkeys import parse_detach_keys
from dockerapi.local.containers.exec import Exec
from dockerapi.local.containers.hub import Hub
from dockerapi.local.containers.monitor import read_end, until_ended
from dockerapi.local.containers.places import Places
from dockerapi.local.containers.registry import Registry
from dockerapi.local.containers.runtime import plain
from dockerapi.local.containers.security.workdir import check_running_workdir
from dockerapi.local.containers.security.zeros import refuse_zero_bytes
from dockerapi.local.containers.spec import environment, merge_environment, process_spec
from dockerapi.local.containers.streaming import Wanted, stream
from dockerapi.local.containers.tools import Toolbox, Tools
from dockerapi.local.containers.transitions import Operation, check
from dockerapi.local.containers.users import resolve_user
from dockerapi.local.host.pidfd import open_process
from dockerapi.local.host.threads import in_thread
from dockerapi.model.execs import ExecCreateRequest, ExecRequest, ExecStartConfig, ExecStartRequest
from dockerapi.model.streams import ResizeRequest, stream_type
from dockerapi.wire.duplex import Duplex
from dockerapi.wire.stdcopy import STDOUT, frame

#: How many execs of a container may wait or run: those that nobody starts stay in memory.
MOST = 5000
#: How long an exec that has ended can be inspected, in seconds (dockerd: 5 minutes).
REMEMBERED = 300.0


class Execs:
    """The execs of all containers."""

    log = Logger()

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
        self._places = places
        self._toolbox = toolbox
        self._events = events
        self._reactor = reactor
        self._clock = clock
        self._execs: dict[str, Exec] = {}
        self._watching: set[Deferred[None]] = set()

    def register(self, engine: Engine) -> None:
        """Register the handlers of this module."""
        engine.register("ContainerExec", self.create)
        engine.register("ExecStart", self.start)
        engine.register("ExecInspect", self.inspect)
        engine.register("ExecResize", self.resize)

    def stop(self) -> None:
        """Leave all execs; they run on."""
        for watching in tuple(self._watching):
            watching.cancel()
        for each in self._execs.values():
            each.hub.close()

    async def create(self, job: Job) -> Answer:
        """Answer ContainerExec; raises `Conflict` for a container that cannot run one."""
        request = await job.request(ExecCreateRequest)
        container = self._running(request.container)
        parse_detach_keys(request.config.detach_keys)
        refuse_zero_bytes(request.config)
        self._forget_old()
        if len(container.exec_ids) >= MOST:
            raise Conflict(f"container {container.id} has {MOST} execs that have not ended")
        made = Exec(secrets.token_hex(32), container, request.config, Hub(self._reactor))
        self._execs[made.id] = made
        container.exec_ids.append(made.id)
        self._publish(made, f"exec_create: {' '.join(made.command)}")
        return {"Id": made.id}

    async def inspect(self, job: Job) -> Answer:
        """Answer ExecInspect."""
        request = await job.request(ExecRequest)
        return self._get(request.exec_id).document()

    async def resize(self, job: Job) -> Answer:
        """Answer ExecResize; raises `Conflict` for an exec that does not run."""
        request = await job.request(ResizeRequest)
        found = self._get(request.target)
        if not found.running:
            raise Conflict(f"exec process {found.id} is not running")
        if not await resize(self._watch(found), request.height, request.width):
            raise Conflict(f"exec process {found.id} is not running")
        return None

    async def start(self, job: Job) -> Answer:
        """Answer ExecStart: with the connection, or, detached, when the process runs."""
        request = await job.request(ExecStartRequest)
        found = self._get(request.exec_id)
        if found.exit_code is not None or found.started:
            state = "has already run" if not found.running else "is already running"
            raise Conflict(f"exec command {found.id} {state}")
        self._running(found.container.id)
        found.started = True
        if request.config.detach:
            await self._run(found, request.config)
            return None
        config = found.config
        framed = not config.tty
        outputs = [n for n, on in ((1, config.attach_stdout), (2, config.attach_stderr)) if on]

        async def serve(duplex: Duplex) -> None:
            await self._serve(found, request.config, duplex, outputs, framed=framed)

        return Hijack(serve, stream_type(request.version, framed=framed))

    async def _serve(
        self,
        found: Exec,
        start: ExecStartConfig,
        duplex: Duplex,
        outputs: Sequence[int],
        *,
        framed: bool,
    ) -> None:
        config = found.config
        follower = found.hub.follow(outputs, framed=framed)
        try:
            await self._run(found, start)
        except EngineError as error:
            # The head is out: the reason goes where the output would have gone.
            reason = f"{error.message}\r\n".encode("utf-8", "backslashreplace")
            await duplex.write(frame(STDOUT, reason) if framed else reason)
            return
        keys = parse_detach_keys(config.detach_keys) if config.tty or config.detach_keys else None
        wanted = Wanted(
            stdin=config.attach_stdin, output=bool(outputs), once=not config.tty, detach=keys
        )
        try:
            if await stream(found.hub, follower, duplex, wanted):
                self._publish(found, "exec_detach")
                return
        finally:
            follower.leave()
        await found.ended()

    async def _run(self, found: Exec, start: ExecStartConfig) -> None:
        """Run the process; returns when it exists. Raises `EngineError` in the runtime's words."""
        tools = self._toolbox.require()
        self._publish(found, f"exec_start: {' '.join(found.command)}")
        watch = self._watch(found)
        try:
            await in_thread(self._write_process, found, start, watch)
            await self._launch(found, watch, tools)
        except EngineError as error:
            failed = _exec_error(error)
            found.end(failed.exit_code)
            found.hub.close()
            self._tell_end(found, failed.exit_code)
            await in_thread(shutil.rmtree, watch.directory, True)
            raise failed from error

    async def _launch(self, found: Exec, watch: Watch, tools: Tools) -> None:
        monitored = await launch(
            watch,
            tools.conmon,
            tools.runtime_of(found.container.id),
            attach=lambda: found.hub.connect(watch.attach_socket),
        )
        found.pid, found.running = monitored.pid, True
        pidfd: int | None = None
        with suppress(EngineError, OSError):
            # It may have ended already; its monitor tells.
            pidfd = open_process(monitored.pid)
        conmon = Deferred.fromCoroutine(monitored.conmon.wait())
        watching = Deferred.fromCoroutine(
            self._follow(found, watch, pidfd, conmon.addCallback(lambda _: None))
        )
        self._watching.add(watching)
        watching.addErrback(lambda _: None)
        watching.addBoth(lambda _: self._watching.discard(watching))

    async def _follow(
        self, found: Exec, watch: Watch, pidfd: int | None, conmon: Deferred[None]
    ) -> None:
        """Wait for the end of a process that runs, and record it."""
        if pidfd is None:
            await conmon
            end = read_end(watch.exit_file, watch.oom_file, None, time.time_ns())
        else:
            try:
                end = await until_ended(pidfd, conmon, watch.exit_file, watch.oom_file, self._clock)
            finally:
                os.close(pidfd)
        found.end(end.code)
        self._tell_end(found, end.code)
        await in_thread(shutil.rmtree, watch.directory, True)

    def _write_process(self, found: Exec, start: ExecStartConfig, watch: Watch) -> None:
        """Write the OCI process of an exec; blocks for small files."""
        container, config = found.container, found.config
        root = self._places.directories(container).merged
        workdir = config.working_dir or container.config.working_dir or "/"
        check_running_workdir(container.state.pid, workdir)
        host = container.host_config
        if config.privileged:
            host = msgspec.structs.replace(host, privileged=True)
        user = resolve_user(root, config.user or container.config.user, host.group_add or ())
        variables = merge_environment(environment(container), config.env or ())
        process = process_spec(host, user, found.command, variables, workdir)
        process["terminal"] = config.tty
        size = start.console_size or config.console_size
        if config.tty and size:
            process["consoleSize"] = {"height": size[0], "width": size[1]}
        watch.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (watch.directory / "process.json").write_bytes(msgspec.json.encode(process))

    def _watch(self, found: Exec) -> Watch:
        directory = self._places.directories(found.container).run / "execs" / found.id
        return Watch(
            container_id=found.container.id,
            name=found.container.name,
            bundle=directory,
            directory=directory,
            terminal=found.config.tty,
            stdin=found.config.attach_stdin,
            stdin_once=not found.config.tty,
            process=directory / "process.json",
        )

    def _running(self, reference: str) -> Container:
        container = self._registry.get(reference)
        check(Operation.EXEC, container, reference)
        return container

    def _get(self, exec_id: str) -> Exec:
        found = self._execs.get(exec_id)
        if found is None:
            matches = [key for key in self._execs if exec_id and key.startswith(exec_id)]
            found = self._execs[matches[0]] if len(matches) == 1 else None
        if found is None or found.container.id not in self._registry:
            raise NotFound(f"No such exec instance: {exec_id}")
        return found

    def _forget_old(self) -> None:
        """Forget execs that ended a while ago, or whose containers are gone."""
        before = time.monotonic() - REMEMBERED
        for each in tuple(self._execs.values()):
            removed = each.container.id not in self._registry
            if removed or (each.exit_code is not None and each.ended_at < before):
                del self._execs[each.id]
                if each.id in each.container.exec_ids:
                    each.container.exec_ids.remove(each.id)

    def _tell_end(self, found: Exec, code: int) -> None:
        if found.id in found.container.exec_ids:
            found.container.exec_ids.remove(found.id)
        self._publish(found, "exec_die", exitCode=str(code))

    def _publish(self, found: Exec, action: str, **more: str) -> None:
        container = found.container
        attributes = container.event_attributes(execID=found.id, **more)
        self._events.publish(Event("container", action, container.id, attributes))


class ExecFailed(InvalidParameter):
    """The command of an exec cannot be run; `exit_code` is 126 or 127."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def _exec_error(error: EngineError) -> ExecFailed:
    """Return the error for an exec that did not start, in dockerd's words."""
    if not isinstance(error, RuntimeFailed):
        return ExecFailed(error.message, 126)
    words = plain(error.message)
    if not words.startswith("exec failed"):
        words = f"exec failed: unable to start container process: {words}"
    low = words.lower()
    missing = "executable file not found" in low or "no such file or directory" in low
    return ExecFailed(f"OCI runtime exec failed: {words}: unknown", 127 if missing else 126)
