"""What is chosen by chance is the same afterwards, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from differences.normalise import fields, text

ID = "0123456789ab" * 5 + "cdef"


class TextTests(SynchronousTestCase):
    def test_what_is_chosen(self) -> None:
        for raw, same in (
            (f"container {ID} is paused", "container ID is paused"),
            (f"{ID[:12]} x", "ID x"),
            ("2026-11-25T10:00:00.123456789Z", "TIME"),
            ("2026-11-25 10:00:00 +0000 UTC", "TIME"),
            ("Up 3 seconds", "Up AGO"),
            ("Exited (0) Less than a second ago", "Exited (0) AGO"),
            ("/tmp/xy/data/volumes", "ROOT/data/volumes"),
            ("10.213.7.9 name", "ADDRESS name"),
            ("0.0.0.0:49153->80/tcp", "0.0.0.0:PORT->80/tcp"),
            ("NAME     STATE\nx        y  \n", "NAME STATE\nx y"),
        ):
            self.assertEqual(text(raw, "/tmp/xy"), same)

    def test_what_is_not(self) -> None:
        for raw in ("0001-01-01T00:00:00Z", "10.213.7.1", "8080", "65536", "abcdef", "Up to you"):
            self.assertEqual(text(raw, "/tmp/xy"), raw)

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\r")))
    def test_what_is_normal_stays_so(self, raw: str) -> None:
        once = text(raw, "/tmp/xy")
        self.assertEqual(text(once, "/tmp/xy"), once)


class FieldTests(SynchronousTestCase):
    def found(self, value: object) -> dict[str, str]:
        return dict(fields(value, "/tmp/xy"))

    def test_paths_and_values(self) -> None:
        document = {"A": {"B": 1, "C": []}, "D": [{"E": None}], "F": ["x"], "G": {}}
        self.assertEqual(
            self.found(document),
            {"A.B": "1", "A.C": "[]", "D[0].E": "null", "F": '["x"]', "G": "{}"},
        )

    def test_what_the_system_chose_and_that_it_chose_nothing(self) -> None:
        self.assertEqual(self.found({"Pid": 77}), self.found({"Pid": 78}))
        self.assertNotEqual(self.found({"Pid": 77}), self.found({"Pid": 0}))

    def test_objects_in_a_list_have_no_order(self) -> None:
        one, two = {"Name": "a"}, {"Name": "b"}
        self.assertEqual(self.found([one, two]), self.found([two, one]))
        self.assertNotEqual(self.found(["a", "b"]), self.found(["b", "a"]))
