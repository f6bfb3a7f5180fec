"""Those who wait for the end of a container, some of whom give up while others are told."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.containers.container import Container, Exit
from dockerapi.local.containers.life.running import Running
from dockerapi.local.containers.runtime import monitor
from dockerapi.model.containers import ContainerConfig, HostConfig


class WaiterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.container = Container("1" * 64, "one", 0, "", "", b"", ContainerConfig(), HostConfig())

    def test_one_gives_up_while_a_removal_is_told(self) -> None:
        first, second = self.container.removal(), self.container.removal()
        third = self.container.next_exit()
        first.addCallback(lambda _: second.cancel())
        self.container.tell_removal(Exit(7))
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.successResultOf(third), Exit(7))

    def test_one_gives_up_while_an_end_is_told(self) -> None:
        first, second, third = (self.container.next_exit() for _ in range(3))
        first.addCallback(lambda _: second.cancel())
        self.container.tell_exit(Exit(7))
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.successResultOf(third), Exit(7))

    def test_who_gives_up_waiting_for_a_monitor_records_no_end(self) -> None:
        self.patch(monitor, "exit_of", lambda _: succeed(None))
        conmon: Deferred[None] = Deferred()
        clock, nowhere = Clock(), Path("/nonexistent")
        waiting = Deferred.fromCoroutine(monitor.until_ended(-1, conmon, nowhere, nowhere, clock))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_one_gives_up_while_it_is_told_that_the_end_is_recorded(self) -> None:
        running, clock = Running(-1), Clock()
        first, second, third = (
            Deferred.fromCoroutine(running.ended(None, clock)) for _ in range(3)
        )
        first.addCallback(lambda _: second.cancel())
        running.tell()
        self.failureResultOf(second, CancelledError)
        self.assertTrue(self.successResultOf(third))
