"""Words of instructions: quotes, escapes and variables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.images.changes import apply_changes
from dockerapi.local.images.words import expand, split
from dockerapi.model.malformed import Malformed

VARIABLES = {"PATH": "/bin", "B": "two", "E": ""}


class WordsTests(SynchronousTestCase):
    def test_what_words_become(self) -> None:
        for text, meaning in (
            ("/usr/bin:$PATH", "/usr/bin:/bin"),
            ("x$B/${B}y", "xtwo/twoy"),
            ("'$B'", "$B"),
            ('"$B z"', "two z"),
            ("\\$B", "$B"),
            ('"a\\"b\\nc"', 'a"b\\nc'),
            ("a\\", "a"),
            ("$NO.", "."),
            ("$", "$"),
            ("a$1b", "ab"),
            ("${NO:-d}", "d"),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${NO:-${B}}", "two"),
            ("${B:+s}", "s"),
            ("${E:+s}", ""),
            ("${B:?why}", "two"),
        ):
            self.assertEqual(expand(text, VARIABLES), meaning, text)

    def test_what_cannot_be(self) -> None:
        for text, why in (
            ("'x", "looking for matching single-quote"),
            ('"x', "looking for matching double-quote"),
            ("${NO:?why}", 'failed to process "${NO:?why}": NO: why'),
            ("${B", "unsupported modifier"),
            ("${}", "bad substitution"),
            ("${B:-x", "missing '}'"),
            ("${NO:-" * 100 + "}" * 100, "nested too deep"),
        ):
            error = self.assertRaises(Malformed, expand, text, VARIABLES)
            self.assertIn(why, error.message)

    def test_splitting(self) -> None:
        self.assertEqual(
            split('a="b c"  d=\'e f\' g\\ h "i'), ['a="b c"', "d='e f'", "g\\ h", '"i']
        )

    @given(st.text(alphabet="a$ {}:-+?\\\"'", max_size=40))
    def test_any_text_ends(self, text: str) -> None:
        try:
            value = expand(text, VARIABLES)
        except Malformed as error:
            self.assertTrue(error.message.startswith("failed to process "), error.message)
        else:
            self.assertLessEqual(len(value), len(text) * max(map(len, VARIABLES.values())))
        words = split(text)
        self.assertNotIn("", words)
        self.assertEqual("".join(words).replace(" ", ""), text.replace(" ", ""))

    def test_instructions_see_the_environment(self) -> None:
        config = apply_changes(
            {"Env": ["B=two"]},
            [
                "ENV B=three A=$B",
                'LABEL "$A"="a b"',
                "WORKDIR /$B",
                "USER $A",
                "EXPOSE 80$NO",
                'VOLUME ["/$B"]',
                "CMD echo $B",
            ],
        )
        self.assertEqual(config["Env"], ["B=three", "A=two"])
        self.assertEqual(config["Labels"], {"two": "a b"})
        self.assertEqual((config["WorkingDir"], config["User"]), ("/three", "two"))
        self.assertEqual(list(config["ExposedPorts"]), ["80/tcp"])
        self.assertEqual(list(config["Volumes"]), ["/three"])
        self.assertEqual(config["Cmd"][-1], "echo $B")
