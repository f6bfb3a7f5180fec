"""Differences find their reasons, and the table says them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from differences import report
from differences.cases import Case
from differences.compare import COMMAND, Difference, Outcome, differences
from differences.reasons import Reason, Where, load, sort
from differences.sides import Result

FOUND = Difference("container run --memory", "docker run -m 1", COMMAND, "Bad | text", "bad text")


def outcome(errors: str = "", status: int = 0, **fields: str) -> Outcome:
    return Outcome((Result("docker x", "out", errors, status),), (fields,))


def reason(what: str, why: str = "y", **where: Any) -> Reason:
    return Reason(what, why, (Where(**where),))


class ReasonTests(SynchronousTestCase):
    def test_all_patterns_must_be_found(self) -> None:
        self.assertTrue(Where().fits(FOUND))
        self.assertTrue(Where(place="command", dockerd="^Bad", ours="text$").fits(FOUND))
        for wrong in (
            Where(place="comm"),
            Where(dockerd="bad"),
            Where(ours="Bad"),
            Where(option="cpu"),
        ):
            self.assertFalse(wrong.fits(FOUND), wrong)

    def test_newer_words_must_explain_all_of_it(self) -> None:
        words = (("Bad", "bad"), (r"\| ", ""))
        self.assertTrue(Where(newer=words).fits(FOUND))
        self.assertFalse(Where(newer=words[:1]).fits(FOUND))

    def test_the_first_takes_it_and_the_unused_are_told(self) -> None:
        reasons = [reason("a", option="volume"), reason("b"), reason("c")]
        found = sort([FOUND], reasons)
        self.assertEqual(found.known, [(reasons[1], [FOUND])])
        self.assertEqual(found.unused, [reasons[0], reasons[2]])
        self.assertEqual(sort([FOUND], []).unknown, [FOUND])

    def test_the_reasons_are_read(self) -> None:
        self.assertTrue(all(reason.what and reason.why for reason in load()))


class CompareTests(SynchronousTestCase):
    case = Case(("volume ls",), ("docker x",), inspect=("container cc",))

    def found(self, dockerd: Outcome, ours: Outcome) -> list[tuple[str, str, str]]:
        return [(d.place, d.dockerd, d.ours) for d in differences(self.case, dockerd, ours)]

    def test_what_is_equal_is_not_told(self) -> None:
        self.assertEqual(self.found(outcome(a="1"), outcome(a="1")), [])

    def test_a_command_and_a_member(self) -> None:
        self.assertEqual(
            self.found(outcome("Bad", a="1"), outcome("bad", b="1")),
            [("command", "Bad", "bad"), ("a", "1", "(absent)"), ("b", "(absent)", "1")],
        )

    def test_what_failed_on_one_side_is_told_once(self) -> None:
        gone = outcome("no", 1, message="No such container")
        self.assertEqual(self.found(outcome(a="1"), gone), [("command", "exit 0", "no\nexit 1")])
        kept = outcome(message="No such container")
        self.assertEqual(
            self.found(outcome(a="1"), kept), [("message", "(there)", "No such container")]
        )


class ReportTests(SynchronousTestCase):
    def test_the_table(self) -> None:
        reasons = [reason("Words", "They\n are newer."), reason("x")]
        self.assertEqual(
            report.table(sort([FOUND], reasons)).splitlines()[2:],
            ["| Words | `Bad \\| text` | `bad text` | They are newer. |"],
        )

    def test_the_table_says_what_has_no_reason(self) -> None:
        said = report.table(sort([FOUND, FOUND], [])).splitlines()
        self.assertEqual(
            said[2:], ["", "Not as it should be yet: something of `container run --memory`."]
        )

    def test_only_what_is_between_the_marks_is_written(self) -> None:
        document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
        new = report.written(document, "new")
        self.assertEqual(new, f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n")
        self.assertEqual(report.written(new, "new"), new)
        self.assertRaises(ValueError, report.written, "no marks", "new")

    def test_equal_differences_are_shown_once(self) -> None:
        self.assertEqual(report.lines([FOUND, FOUND]).count("docker run"), 1)
        self.assertIn("(2 times)", report.lines([FOUND, FOUND]))
