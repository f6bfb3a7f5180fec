"""Filters: both encodings, what is refused, and expressions that could take for ever."""

from __future__ import annotations

import json
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.filters import Filters
from dockerapi.model.malformed import Malformed

ALLOWED = ("name", "label", "dangling")


class FilterTests(SynchronousTestCase):
    def refused(self, text: str) -> str:
        return self.assertRaises(Malformed, Filters.parse, text, ALLOWED).message

    def test_both_encodings(self) -> None:
        for text in ('{"name":["a","b"]}', '{"name":{"a":true,"b":true,"c":false}}'):
            filters = Filters.parse(text, ALLOWED)
            self.assertEqual(filters.get("name"), ("a", "b"))
            self.assertEqual(list(filters), ["name"])
            self.assertTrue(filters)
        self.assertFalse(Filters.parse("", ALLOWED))
        self.assertFalse(Filters.parse('{"name":[]}', ALLOWED))

    def test_what_is_refused(self) -> None:
        for text in ("nope", "[]", "5", "{", "[" * 100_000):
            self.assertEqual(self.refused(text), "invalid filter")
        self.assertEqual(self.refused('{"nope":["x"]}'), "invalid filter 'nope'")
        for text in ('{"name":"a"}', '{"name":[1]}', '{"name":null}'):
            self.assertIn("name", self.refused(text))

    def test_exact(self) -> None:
        filters = Filters({"name": ["a"]})
        self.assertTrue(filters.exact("name", "b", "a"))
        self.assertFalse(filters.exact("name", "b"))
        self.assertTrue(filters.exact("label", "anything"))

    def test_labels(self) -> None:
        labels = {"a": "1", "b": ""}
        for wanted, passes in (("a", True), ("a=1", True), ("a=2", False), ("b=", True)):
            self.assertEqual(Filters({"label": [wanted]}).labels(labels), passes, wanted)
        self.assertFalse(Filters({"label": ["a", "c"]}).labels(labels))

    def test_labels_that_are_not_wanted(self) -> None:
        for filters, passes in (
            ({}, True),
            ({"label!": ["a"]}, False),
            ({"label!": ["a=2"]}, True),
            ({"label!": ["a", "c"]}, True),
            ({"label!": ["a", "b"]}, False),
            ({"label": ["a"], "label!": ["b"]}, False),
            ({"label": ["c"], "label!": ["d"]}, False),
        ):
            self.assertEqual(Filters(filters).labelled({"a": "1", "b": ""}), passes, filters)

    def test_truth(self) -> None:
        for text, value in (("true", True), ("1", True), ("T", True), ("0", False), ("F", False)):
            self.assertEqual(Filters({"dangling": [text]}).truth("dangling", False), value)
        self.assertTrue(Filters().truth("dangling", True))
        for texts, told in ((["maybe"], "[maybe]"), (["true", "false"], "[true false]")):
            filters = Filters({"dangling": texts})
            refused = self.assertRaises(Malformed, filters.truth, "dangling", False)
            self.assertEqual(refused.message, f"invalid filter 'dangling={told}'")

    def test_patterns(self) -> None:
        for text, name, passes in (
            ("web", "my-web-1", True),
            ("^/?web$", "web", True),
            ("^web$", "web1", False),
            ("w.*1$", "web1", True),
            (r"\+\*\{\+\*", "x+*{+*", True),
            ("[", "[", True),
            ("[", "x", False),
            ("(?=w)web", "web", False),
        ):
            self.assertEqual(Filters({"name": [text]}).pattern("name", name), passes, text)
        self.assertTrue(Filters().pattern("name", "anything"))

    def test_no_expression_takes_long(self) -> None:
        name = "a" * 64 + "!"
        for text in (
            "(a+)+$",
            "(a|a)*$",
            "a*a*a*a*a*a*b",
            "(.*)(.*)(.*)(.*)(.*)[b]",
            "a?" * 64 + "a" * 64 + "b",
            "(a|a)" * 40 + "b",
            "(?:a|a)" * 36 + "b",
            r"(a*)\1\1\1b",
            "(?:a{1,9}){1,9}{1,9}$",
            "a{99999999999}",
            "(" * 5000,
        ):
            since = time.perf_counter()
            Filters({"name": [text]}).pattern("name", name)
            self.assertLess(time.perf_counter() - since, 20, text)

    @given(st.text(alphabet='{}[]":,name1true(+*)\\', max_size=40))
    def test_any_text_is_malformed_at_most(self, text: str) -> None:
        try:
            Filters.parse(text, ALLOWED)
        except Malformed as error:
            self.assertTrue(error.message)

    @given(st.text(alphabet="ab()[]{}*+?|\\^$.<=!:P12,", max_size=30), st.text(max_size=30))
    def test_any_pattern_has_an_answer(self, text: str, name: str) -> None:
        filters = Filters.parse(json.dumps({"name": [text]}), ALLOWED)
        self.assertIn(filters.pattern("name", name), (True, False))
