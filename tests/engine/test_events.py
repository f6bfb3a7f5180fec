"""The bus: one order for all events, whether they are published or told of a change."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.events import Event, EventBus, FellBehind, Subscription


def event(action: str) -> Event:
    return Event("container", action, "ab" * 32)


class EventBusTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bus = EventBus()
        self.subscription = self.bus.subscribe(lambda _: True, limit=4)

    def next(self, subscription: Subscription | None = None) -> Event:
        following = Deferred.fromCoroutine((subscription or self.subscription).next())
        found = self.successResultOf(following)
        assert found is not None
        return found

    def test_what_comes_after_a_change_is_told_after_it(self) -> None:
        reserved = self.bus.reserve([event("start")])
        self.bus.publish(event("attach"))
        following = Deferred.fromCoroutine(self.subscription.next())
        self.assertNoResult(following)
        self.bus.settle(reserved, happened=True)
        first, second = self.successResultOf(following), self.next()
        self.assertEqual((first.action, second.action), ("start", "attach"))
        self.assertLess(first.number, second.number)
        self.assertEqual(self.bus.told, second.number)

    def test_a_change_that_failed_is_not_told_and_holds_nobody_up(self) -> None:
        reserved = self.bus.reserve([event("start")])
        self.bus.publish(event("attach"))
        self.bus.settle(reserved, happened=False)
        self.assertEqual(self.next().action, "attach")
        self.assertEqual([one.action for one in self.bus.recent], ["attach"])

    def test_changes_are_told_in_the_order_in_which_they_were_begun(self) -> None:
        first, second = self.bus.reserve([event("one")]), self.bus.reserve([event("two")])
        self.bus.settle(second, happened=True)
        self.assertEqual(self.bus.told, 0)
        self.bus.settle(first, happened=True)
        self.assertEqual([self.next().action, self.next().action], ["one", "two"])

    def test_an_event_caused_by_an_event_comes_second_for_everyone(self) -> None:
        following = Deferred.fromCoroutine(self.subscription.next())
        following.addCallback(lambda _: self.bus.publish(event("effect")))
        others = [self.bus.subscribe(lambda _: True) for _ in range(8)]
        self.bus.publish(event("cause"))
        for other in others:
            self.assertEqual(
                [self.next(other).action, self.next(other).action], ["cause", "effect"]
            )

    def test_a_full_queue_is_given_up_and_begins_again(self) -> None:
        for number in range(10_000):
            self.bus.publish(event(str(number)))
        self.failureResultOf(Deferred.fromCoroutine(self.subscription.next()), FellBehind)
        self.assertEqual(self.subscription.rejoin(), 10_000)
        self.bus.publish(event("later"))
        self.assertEqual(self.next().action, "later")

    def finished(self) -> list[str]:
        """Return what the subscription had, and that it is closed."""
        actions: list[str] = []
        while True:
            found = self.successResultOf(Deferred.fromCoroutine(self.subscription.next()))
            if found is None:
                self.assertEqual(self.bus.listeners, 0)
                return actions
            actions.append(found.action)

    def test_whoever_finishes_hears_of_changes_that_were_begun_before(self) -> None:
        reserved = self.bus.reserve([event("begun")])
        self.subscription.finish()
        self.bus.publish(event("later"))
        self.assertEqual(self.bus.listeners, 1)
        self.bus.settle(reserved, happened=True)
        self.assertEqual(self.finished(), ["begun"])

    def test_whoever_finishes_waits_for_no_change_that_failed(self) -> None:
        self.bus.publish(event("before"))
        reserved = self.bus.reserve([event("fails")])
        self.subscription.finish()
        self.bus.settle(reserved, happened=False)
        self.assertEqual(self.finished(), ["before"])

    def test_whoever_finishes_when_all_is_told_is_closed_at_once(self) -> None:
        self.bus.publish(event("before"))
        self.subscription.finish()
        later = self.bus.reserve([event("later")])
        self.assertEqual(self.finished(), ["before"])
        self.bus.settle(later, happened=True)

    def test_whoever_finishes_because_of_an_event_hears_of_it(self) -> None:
        first = self.bus.subscribe(lambda _: True)

        def finish(_: Event | None, other: Subscription) -> None:
            other.finish()

        both = (first, self.subscription)
        following = [Deferred.fromCoroutine(one.next()) for one in both]
        for waiting, other in zip(following, reversed(both), strict=True):
            waiting.addCallback(finish, other)
        self.bus.publish(event("cause"))
        self.assertEqual(self.bus.listeners, 0)
        for one in both:
            self.successResultOf(Deferred.fromCoroutine(one.next()))

    def test_numbers_go_on_after_those_of_an_earlier_server(self) -> None:
        self.bus.continue_after(41)
        self.bus.publish(event("start"))
        self.assertEqual(self.next().number, 42)
