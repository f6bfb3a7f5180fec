"""How results of checks change what is known of a container's health."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.containers.health.health import (
    KEPT,
    Check,
    Health,
    Result,
    check_of,
    inherited,
)
from dockerapi.model.containers import ContainerConfig, Healthcheck

SECOND = 1_000_000_000


def result(code: int) -> Result:
    return Result(1 * SECOND, 2 * SECOND, code, "said")


class CheckTests(SynchronousTestCase):
    def of(self, test: list[str] | None, **more: object) -> Check | None:
        return check_of(ContainerConfig(healthcheck=Healthcheck(test, **more)))  # type: ignore[arg-type]

    def test_commands(self) -> None:
        for test, argv in (
            (["CMD", "a", "b"], ("a", "b")),
            (["CMD-SHELL", "a b"], ("/bin/sh", "-c", "a b")),
        ):
            found = self.of(test)
            assert found is not None
            self.assertEqual(found.argv, argv)

    def test_the_shell_of_the_image(self) -> None:
        config = ContainerConfig(
            healthcheck=Healthcheck(["CMD-SHELL", "x"]), shell=["/bin/ash", "-ec"]
        )
        found = check_of(config)
        assert found is not None
        self.assertEqual(found.argv, ("/bin/ash", "-ec", "x"))

    def test_none(self) -> None:
        for test in (None, [], ["NONE"], ["CMD"], ["ODD", "x"]):
            self.assertIsNone(self.of(test))

    def test_defaults_are_dockerds(self) -> None:
        self.assertEqual(self.of(["CMD", "x"]), Check(("x",), 30.0, 30.0, 3, 0.0, 5.0))

    def test_the_image_fills_what_is_unset(self) -> None:
        image = {"Test": ["CMD", "theirs"], "Interval": 2 * SECOND, "Retries": 7}
        own = Healthcheck(None, 0, SECOND, 1)
        self.assertEqual(
            inherited(own, image), Healthcheck(["CMD", "theirs"], 2 * SECOND, SECOND, 1)
        )
        self.assertEqual(inherited(own, None), own)
        found = inherited(None, image)
        assert found is not None
        self.assertEqual((found.test, found.retries), (["CMD", "theirs"], 7))


class HealthTests(SynchronousTestCase):
    check = Check(("x",), retries=2, start_period=10.0)

    def test_failures_add_up(self) -> None:
        one = Health("healthy").after(result(1), self.check, 99)
        self.assertEqual((one.status, one.failing_streak), ("healthy", 1))
        two = one.after(result(1), self.check, 99)
        self.assertEqual((two.status, two.failing_streak), ("unhealthy", 2))
        self.assertEqual(two.after(result(0), self.check, 99).status, "healthy")

    def test_the_start_period_forgives(self) -> None:
        found = Health()
        for _ in range(5):
            found = found.after(result(1), self.check, 9.9)
        self.assertEqual((found.status, found.failing_streak), ("starting", 0))
        self.assertEqual(found.after(result(1), self.check, 10.1).failing_streak, 1)

    @given(st.lists(st.integers(0, 1), max_size=30))
    def test_the_log_is_bounded_and_the_streak_right(self, codes: list[int]) -> None:
        found = Health()
        for code in codes:
            found = found.after(result(code), Check(("x",)), 0)
        self.assertEqual([one.code for one in found.log], codes[-KEPT:])
        streak = len(codes) - max((i + 1 for i, code in enumerate(codes) if code == 0), default=0)
        self.assertEqual(found.failing_streak, streak)
        if streak >= 3:
            self.assertEqual(found.status, "unhealthy")

    def test_document(self) -> None:
        found = Health().after(result(0), self.check, 0)
        self.assertEqual(
            found.document(),
            {
                "Status": "healthy",
                "FailingStreak": 0,
                "Log": [
                    {
                        "Start": "1970-01-01T00:00:01Z",
                        "End": "1970-01-01T00:00:02Z",
                        "ExitCode": 0,
                        "Output": "said",
                    }
                ],
            },
        )
