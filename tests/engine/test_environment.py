"""The environment of jobs: typed values that are kept as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.environment import Environment


class EnvironmentTests(SynchronousTestCase):
    @given(st.text(), st.booleans(), st.integers(), st.lists(st.text()))
    def test_what_is_set_comes_back(
        self, text: str, truth: bool, number: int, texts: list[str]
    ) -> None:
        environment = Environment()
        environment.setenv("Text", text)
        environment.setenv_bool("Truth", truth)
        environment.setenv_int("Number", number)
        environment.setenv_list("Texts", texts)
        self.assertEqual(environment.getenv("Text"), text)
        self.assertEqual(environment.getenv_bool("Truth"), truth)
        self.assertEqual(environment.getenv_int("Number"), number)
        self.assertEqual(environment.getenv_list("Texts"), texts)
        self.assertEqual(list(environment), ["Text", "Truth", "Number", "Texts"])

    def test_what_is_not_there_is_the_zero_value(self) -> None:
        environment = Environment()
        self.assertFalse(environment.exists("Nothing"))
        self.assertEqual(environment.getenv("Nothing"), "")
        self.assertFalse(environment.getenv_bool("Nothing"))
        self.assertEqual(environment.getenv_int("Nothing"), 0)
        self.assertEqual(environment.getenv_list("Nothing"), [])

    def test_texts_that_are_read_as_something_else(self) -> None:
        environment = Environment()
        for text, truth, number, texts in (
            ("none", False, 0, ["none"]),
            ("No ", False, 0, ["No "]),
            ("yes", True, 0, ["yes"]),
            ("12", True, 12, ["12"]),
            ('["a", 1]', True, 0, ["a", "1"]),
            ('{"a": 1}', True, 0, ['{"a": 1}']),
        ):
            environment.setenv("Value", text)
            self.assertEqual(environment.getenv_bool("Value"), truth, text)
            self.assertEqual(environment.getenv_int("Value"), number, text)
            self.assertEqual(environment.getenv_list("Value"), texts, text)
