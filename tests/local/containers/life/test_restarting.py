"""Restart policies, restarts and removals of real containers."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Sequence

from msgspec import structs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import Clock, deferLater

from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound
from dockerapi.local.containers.container import Container, Status
from dockerapi.local.containers.foundation import Foundation
from dockerapi.local.containers.life.observers import Observer
from dockerapi.local.containers.life.order import PATIENCE, Order
from dockerapi.local.containers.life.starting import Started
from tests.local.containers.support import RigCase


async def until(true: object, seconds: float = 60.0) -> None:
    """Return when the call `true` answers true; raise TimeoutError."""
    assert callable(true)
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await deferLater(reactor, 0.02)
    raise TimeoutError


class _Streams(Observer):
    """What is at the streams of containers.

    :ivar fail: whether letting them go fails.
    """

    fail = False

    def ended(self, container: Container) -> None:
        if self.fail:
            raise OSError(errno.EIO, "Input/output error")


class RestartTests(RigCase):
    def observers(self, engine: Engine, foundation: Foundation) -> Sequence[Observer]:
        self.streams = _Streams()
        return (self.streams,)

    def state(self, name: str) -> object:
        return self.rig.containers.registry.get(name).state

    async def with_policy(self, policy: str, *command: str, limit: int = 0) -> str:
        made = await self.rig.create(
            *command,
            name="again",
            host={"RestartPolicy": {"Name": policy, "MaximumRetryCount": limit}},
        )
        await self.rig.job("ContainerStart", "again")
        return str(made["Id"])

    async def inspect(self) -> dict[str, object]:
        return dict(await self.rig.job("ContainerInspect", "again"))

    async def test_a_stop_that_waits_while_the_container_ends(self) -> None:
        await self.with_policy("always", "sleep", "100")
        container = self.rig.containers.registry.get("again")
        async with container.lock:
            os.kill(container.state.pid, signal.SIGKILL)
            # Its end is noticed, and is to be recorded first.
            await deferLater(reactor, 0.5)
            stopping = Deferred.fromCoroutine(self.rig.job("ContainerStop", "again"))
        await stopping
        await deferLater(reactor, 0.3)
        self.assertEqual(container.state.status, Status.EXITED)
        self.assertEqual(self.rig.actions().count("start"), 1)

    async def test_on_failure_gives_up_after_its_limit(self) -> None:
        await self.with_policy("on-failure", "false", limit=2)
        waiting = await self.rig.wait("again")
        # Each end is one to wait for, also where the container starts again.
        self.assertEqual((await waiting)["StatusCode"], 1)
        self.assertEqual(self.rig.actions().count("die"), 1)
        await until(lambda: self.rig.actions().count("die") == 3)
        document = await self.inspect()
        self.assertEqual(document["RestartCount"], 2)
        self.assertEqual(document["State"]["Status"], "exited")  # type: ignore[index]
        self.assertEqual(self.rig.actions().count("start"), 3)
        self.assertEqual(self.rig.actions().count("die"), 3)

    async def test_success_is_no_failure(self) -> None:
        await self.with_policy("on-failure", "true")
        await (await self.rig.wait("again"))
        self.assertEqual(self.rig.actions().count("start"), 1)

    async def test_one_that_waits_is_shown_and_stopped(self) -> None:
        await self.with_policy("always", "sh", "-c", "exit 4")
        # By the third pause (0.4 s) there is time to look.
        await until(lambda: self.rig.actions().count("die") >= 3)
        document = await self.inspect()
        state = document["State"]
        assert isinstance(state, dict)
        self.assertEqual(
            (state["Status"], state["Running"], state["Restarting"], state["ExitCode"]),
            ("restarting", True, True, 4),
        )
        (row,) = await self.rig.job("ContainerList")
        self.assertEqual(row["State"], "restarting")
        self.assertRegex(row["Status"], r"^Restarting \(4\) Less than a second ago$")
        waiting = await self.rig.wait("again")
        self.assertFalse(waiting.called)
        await self.rig.job("ContainerStop", "again")
        self.assertEqual((await waiting)["StatusCode"], 4)
        starts = self.rig.actions().count("start")
        await deferLater(reactor, 1.0)
        self.assertEqual(self.rig.actions().count("start"), starts)
        self.assertEqual((await self.inspect())["State"]["Status"], "exited")  # type: ignore[index]
        self.assertEqual(self.rig.actions()[-1], "stop")

    async def test_a_restart_that_the_host_refuses_is_given_up(self) -> None:
        await self.with_policy("always", "sleep", "1000")
        container = self.rig.containers.registry.get("again")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        patched = self.patch(self.rig.containers.starter, "_write_bundle", full)
        waiting = await self.rig.wait("again", "next-exit")
        os.kill(container.state.pid, signal.SIGKILL)
        await waiting
        await until(lambda: container.state.status is Status.EXITED)
        self.assertEqual(container.state.error, "[Errno 28] No space left on device")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        patched.restore()
        await self.rig.job("ContainerStart", "again")
        self.assertTrue(container.state.running)

    async def test_what_fails_at_the_streams_keeps_nobody_waiting(self) -> None:
        self.streams.fail = True
        await self.with_policy("always", "sleep", "1000")
        container = self.rig.containers.registry.get("again")
        os.kill(container.state.pid, signal.SIGKILL)
        await until(lambda: self.rig.actions().count("start") == 2)
        await self.rig.job("ContainerStop", "again", query="t=0")
        self.assertEqual(container.state.status, Status.EXITED)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)
        self.streams.fail = False

    async def test_what_prevents_a_restart_is_told_as_such(self) -> None:
        await self.rig.create("nosuch", name="bad")
        for query, why in (("", 'exec: "nosuch": executable file not found'), ("signal=x", "")):
            with self.assertRaises(EngineError) as failed:
                await self.rig.job("ContainerRestart", "bad", query=query)
            self.assertIs(type(failed.exception), EngineError)
            self.assertTrue(failed.exception.message.startswith("Cannot restart container bad: "))
            self.assertIn(why, failed.exception.message)

    async def test_none_ends_before_it_starts(self) -> None:
        """However short it runs, and however coarse the clock is that tells of its end."""
        await self.rig.create("true", name="short")
        for _ in range(10):
            waiting = await self.rig.wait("short", "next-exit")
            await self.rig.job("ContainerStart", "short")
            await waiting
            state = self.rig.containers.registry.get("short").state
            self.assertGreaterEqual(state.finished_at, state.started_at)

    async def test_what_a_client_stops_stays_stopped(self) -> None:
        await self.with_policy("always", "sleep", "1000")
        await self.rig.job("ContainerStop", "again", query="t=0")
        await deferLater(reactor, 0.3)
        self.assertEqual((await self.inspect())["State"]["Status"], "exited")  # type: ignore[index]

    async def test_one_that_waits_is_removed_by_force(self) -> None:
        await self.with_policy("always", "false")
        await until(lambda: self.rig.actions().count("die") >= 2)
        await self.rig.job("ContainerDelete", "again", query="force=1")
        self.assertEqual(list(self.rig.containers.registry), [])
        starts = self.rig.actions().count("start")
        await deferLater(reactor, 0.5)
        self.assertEqual(self.rig.actions().count("start"), starts)

    async def test_what_the_servers_end_stops_starts_with_the_next(self) -> None:
        for name, policy in (("aa", "unless-stopped"), ("bb", "on-failure"), ("cc", "no")):
            host = {"RestartPolicy": {"Name": policy}}
            await self.rig.create("sleep", "1000", name=name, host=host, StopTimeout=0)
            await self.rig.job("ContainerStart", name)
        await self.rig.containers.stop_all()
        states = {one.state.status for one in self.rig.containers.registry}
        self.assertEqual(states, {Status.EXITED})
        await self.rig.stop()
        await self.rig.start()
        found = {one.name: one for one in self.rig.containers.registry}
        await until(lambda: found["aa"].state.running and found["bb"].state.running)
        self.assertEqual(found["cc"].state.status, Status.EXITED)

    async def test_what_others_need_starts_before_them(self) -> None:
        always = {"RestartPolicy": {"Name": "always"}}
        bridged = {**always, "NetworkMode": "bridge"}
        for name, host in (
            ("db", bridged),
            ("web", {**bridged, "Links": ["db"]}),
            ("beside", {**always, "NetworkMode": "container:web"}),
            ("joined", {**always, "PidMode": "container:beside"}),
        ):
            await self.rig.create("sleep", "1000", name=name, host=host, StopTimeout=0)
            await self.rig.job("ContainerStart", name)
        await self.rig.containers.stop_all()
        await self.rig.stop()
        await self.rig.start()
        found = list(self.rig.containers.registry)
        await until(lambda: not any(one.state.status is Status.RESTARTING for one in found))
        states = {one.name: (one.state.status, one.state.error) for one in found}
        self.assertEqual(set(states.values()), {(Status.RUNNING, "")}, states)

    async def test_nobody_waits_for_ever(self) -> None:
        await self.rig.create("true", name="db")
        await self.rig.create("true", name="web", host={"IpcMode": "container:db"})
        db, web = (self.rig.containers.registry.get(name) for name in ("db", "web"))
        clock = Clock()
        order = Order(self.rig.containers.registry, clock)
        await order.wait(web)
        db.state = structs.replace(db.state, status=Status.RESTARTING)
        for let_go in (
            lambda: clock.advance(PATIENCE),
            lambda: order.tell(db),
            order.close,
        ):
            waiting = Deferred.fromCoroutine(order.wait(web))
            self.assertNoResult(waiting)
            let_go()
            self.assertIsNone(self.successResultOf(waiting))
        await order.wait(web)
        self.assertEqual(clock.getDelayedCalls(), [])
        db.state = structs.replace(db.state, status=Status.CREATED)

    async def test_one_that_cannot_be_stopped_leaves_the_others_their_end(self) -> None:
        for name in ("aa", "bb"):
            await self.rig.create("sleep", "1000", name=name, StopTimeout=0)
            await self.rig.job("ContainerStart", name)
        found = {one.name: one for one in self.rig.containers.registry}
        found["aa"].config.stop_signal = "SIGNONE"
        await self.rig.containers.stop_all()
        self.assertTrue(found["aa"].state.running)
        self.assertEqual(found["bb"].state.status, Status.EXITED)
        self.assertEqual(len(self.flushLoggedErrors(InvalidParameter)), 1)

    async def test_what_the_server_had_to_kill_was_not_stopped_by_hand(self) -> None:
        await self.with_policy("unless-stopped", "sleep", "1000")
        container = self.rig.containers.registry.get("again")
        self.rig.containers.lifecycle.close()
        await self.rig.containers.control.stop(container, timeout=0, by_hand=False)
        self.assertEqual((container.state.exit_code, container.state.by_hand), (137, False))

    async def test_one_that_ends_while_no_server_runs_is_started_once(self) -> None:
        await self.with_policy("always", "sleep", "1000")
        pid = self.rig.containers.registry.get("again").state.pid
        await self.rig.stop()
        os.kill(pid, signal.SIGKILL)
        await self.rig.start()
        await until(lambda: self.rig.containers.registry.get("again").state.running)
        # A second alarm would ring now, and be an error.
        await deferLater(reactor, 0.5)
        self.assertEqual((await self.inspect())["RestartCount"], 1)

    async def test_the_servers_end_waits_for_what_is_being_started_again(self) -> None:
        await self.with_policy("always", "sleep", "1000")
        starter = self.rig.containers.starter
        launch = starter.start
        launching: Deferred[None] = Deferred()

        async def start(container: Container) -> Started:
            reactor.callLater(0, launching.callback, None)
            return await launch(container)

        self.patch(starter, "start", start)
        os.kill(self.rig.containers.registry.get("again").state.pid, signal.SIGKILL)
        await launching
        await self.rig.stop()
        state = self.rig.containers.registry.get("again").state
        self.assertTrue(state.running)
        await self.rig.start()
        self.assertEqual(self.rig.containers.registry.get("again").state.pid, state.pid)

    async def test_policies_hold_through_a_restart_of_the_server(self) -> None:
        for name, policy in (("aa", "always"), ("bb", "unless-stopped"), ("cc", "always")):
            await self.rig.create(
                "sleep", "1000", name=name, host={"RestartPolicy": {"Name": policy}}
            )
        for name in ("aa", "bb"):
            await self.rig.job("ContainerStart", name)
            await self.rig.job("ContainerStop", name, query="t=0")
        await self.rig.stop()
        await self.rig.start()
        await until(lambda: self.rig.containers.registry.get("aa").state.running)
        await deferLater(reactor, 0.3)
        states = {one.name: one.state.status.value for one in self.rig.containers.registry}
        # dockerd starts `always` again whoever stopped it; what never ran is not started.
        self.assertEqual(states, {"aa": "running", "bb": "exited", "cc": "created"})


class RemovalTests(RigCase):
    async def test_a_restart_keeps_one_that_goes_at_its_end(self) -> None:
        await self.rig.create("sleep", "1000", name="once", host={"AutoRemove": True})
        await self.rig.job("ContainerStart", "once")
        await self.rig.job("ContainerRestart", "once", query="t=0")
        self.assertTrue(self.rig.containers.registry.get("once").state.running)
        removed = await self.rig.wait("once", "removed")
        await self.rig.job("ContainerKill", "once")
        self.assertEqual((await removed)["StatusCode"], 137)
        self.assertFalse(self.rig.containers.registry.taken("once"))

    async def test_the_reason_of_a_failed_start_is_told_whatever_fails_after_it(self) -> None:
        await self.rig.create("nosuch", name="bad")

        async def fail(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        containers = self.rig.containers
        recording = self.patch(containers.ledger, "save", fail)
        detaching = self.patch(containers._volumes, "detach", fail)
        with self.assertRaises(EngineError) as caught:
            await self.rig.job("ContainerStart", "bad")
        self.assertIn("nosuch", caught.exception.message)
        recording.restore()
        detaching.restore()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)

    async def test_a_stop_is_told_before_the_removal_that_comes_of_it(self) -> None:
        await self.rig.create("sleep", "1000", name="once", host={"AutoRemove": True})
        await self.rig.job("ContainerStart", "once")
        removed = await self.rig.wait("once", "removed")
        await self.rig.job("ContainerStop", "once", query="t=0")
        await removed
        told = ["create", "start", "kill", "kill", "die", "stop", "destroy"]
        self.assertEqual(self.rig.actions(), told)
        # One that stays.
        await self.rig.create("sleep", "1000", name="once")
        await self.rig.job("ContainerStart", "once")
        await self.rig.job("ContainerStop", "once", query="t=0")
        self.assertEqual(self.rig.actions()[len(told) :], told[:-1])

    async def test_two_restarts_keep_one_that_goes_at_its_end(self) -> None:
        await self.rig.create("sleep", "1000", name="once", host={"AutoRemove": True})
        await self.rig.job("ContainerStart", "once")
        container = self.rig.containers.registry.get("once")
        # The one gives up before the container has ended, and the other's stop ends it.
        kept = Deferred.fromCoroutine(self.rig.job("ContainerRestart", "once", query="t=1"))
        left = Deferred.fromCoroutine(
            self.rig.containers.control.restart(container, "SIGURG", timeout=-1)
        )
        left.cancel()
        await self.assertFailure(left, CancelledError)
        await kept
        self.assertTrue(self.rig.containers.registry.get("once").state.running)

    async def test_the_second_of_two_removals_is_told(self) -> None:
        await self.rig.create("sleep", "1000", name="twice")
        await self.rig.job("ContainerStart", "twice")
        jobs = [
            Deferred.fromCoroutine(self.rig.job("ContainerDelete", "twice", query="force=1"))
            for _ in range(2)
        ]
        (first, _), (second, failure) = await DeferredList(jobs, consumeErrors=True)
        self.assertTrue(first)
        self.assertFalse(second)
        self.assertEqual(
            (failure.type, failure.value.message),
            (Conflict, "removal of container twice is already in progress"),
        )

    async def test_a_rename_of_what_is_being_removed_takes_no_name(self) -> None:
        await self.rig.create("true", name="aa")
        registry = self.rig.containers.registry
        container = registry.get("aa")
        async with container.lock:
            removing = Deferred.fromCoroutine(self.rig.job("ContainerDelete", "aa"))
            renaming = Deferred.fromCoroutine(
                self.rig.job("ContainerRename", "aa", query="name=bb")
            )
        await removing
        other = await self.rig.create("true", name="aa")
        await self.assertFailure(renaming, NotFound)
        self.assertEqual(registry.get("aa").id, other["Id"])
        self.assertFalse(registry.taken("bb"))
        with self.assertRaises(Conflict):
            await self.rig.create("true", name="aa")

    async def test_two_renames_to_one_name(self) -> None:
        await self.rig.create("true", name="aa")
        jobs = [
            Deferred.fromCoroutine(self.rig.job("ContainerRename", "aa", query="name=bb"))
            for _ in range(2)
        ]
        results = await DeferredList(jobs, consumeErrors=True)
        self.assertEqual([done for done, _ in results], [True, False])
        self.assertTrue(self.rig.containers.registry.taken("bb"))
        self.assertFalse(self.rig.containers.registry.taken("aa"))

    async def test_an_end_during_a_forced_removal(self) -> None:
        """Whoever comes first, one removes it and nobody fails for it."""
        for _ in range(5):
            await self.rig.create("true", name="race", host={"AutoRemove": True})
            await self.rig.job("ContainerStart", "race")
            try:
                await self.rig.job("ContainerDelete", "race", query="force=1")
            except (NotFound, Conflict):
                await until(lambda: not self.rig.containers.registry.taken("race"))
            self.assertFalse(self.rig.containers.registry.taken("race"))
