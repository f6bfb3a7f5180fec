"""Query strings, read as Go reads them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.model.malformed import Malformed
from dockerapi.model.query import Query


class QueryTests(SynchronousTestCase):
    def test_text(self) -> None:
        query = Query("a=1&a=2&b=x%20y+z&c=&d")
        self.assertEqual([query.text(name) for name in "abcde"], ["1", "x y z", "", "", ""])
        self.assertEqual((query.all("a"), query.all("e")), (["1", "2"], []))
        self.assertEqual(("d" in query, "e" in query), (True, False))
        self.assertEqual(query.text("e", "default"), "default")

    def test_boolean(self) -> None:
        for text in ("", "0", "no", "false", "none", "False", "NONE", " 0 "):
            self.assertFalse(Query(f"x={text}").boolean("x", default=True), text)
        for text in ("1", "true", "yes", "anything"):
            self.assertTrue(Query(f"x={text}").boolean("x"), text)
        self.assertTrue(Query("").boolean("x", default=True))

    def test_integer(self) -> None:
        for text, value in (("5", 5), ("-1", -1), ("%2B7", 7), ("007", 7), ("", 3)):
            self.assertEqual(Query(f"n={text}").integer("n", 3), value)
        self.assertEqual(Query("").integer("n", 3), 3)

    def test_what_go_does_not_read_as_an_integer(self) -> None:
        for text in ("x", "1_000", "%201", "1.5", "0x10", "%D9%A3", "-", "+"):
            words = self.assertRaises(Malformed, Query(f"n={text}").integer, "n").message
            self.assertTrue(words.startswith("strconv.Atoi: parsing "), words)
            self.assertTrue(words.endswith(": invalid syntax"), words)

    def test_integers_out_of_range(self) -> None:
        for text in ("9223372036854775808", "-9223372036854775809", "9" * 5000):
            words = self.assertRaises(Malformed, Query(f"n={text}").integer, "n").message
            self.assertTrue(words.endswith(": value out of range"), words)

    @given(st.text(alphabet="ab=&%;+20fF", max_size=40))
    def test_any_text_can_be_read(self, text: str) -> None:
        query = Query(text)
        for name in "ab":
            self.assertEqual(query.text(name), (query.all(name) or [""])[0])
            query.boolean(name)
