"""Modules without docstrings do what they do with them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from types import CodeType
from typing import Any

from hypothesis import given, strategies
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.terse import without_docstrings

_MODULE = '''
"""Of the module."""

SAID = "Of the module, too."

class Told:
    """Of a class."""

    def method(self):
        """Of a method."""

        def inner():
            """Of a function in it."""

        return inner

class Used:
    """Of a class."""
    again = "Of a class."

def returned():
    """Of a function."""
    return "Of a function."

def given(text="a default"):
    return text

async def waits():
    """Of a coroutine."""

made = [text + "a first constant" for text in ("x",)]
named = lambda: "a text"
'''


def executed(source: str) -> dict[str, Any]:
    """Return the names that `source` leaves without its docstrings."""
    code: CodeType = compile(textwrap.dedent(source), "source", "exec")
    names: dict[str, Any] = {"__name__": "source"}
    exec(without_docstrings(code), names)
    return names


class DocstringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.names = executed(_MODULE)

    def test_there_are_none(self) -> None:
        told = self.names["Told"]
        documented = [told, told.method, told().method(), self.names["waits"]]
        self.assertEqual([one.__doc__ for one in documented], [""] * 4)
        self.assertEqual(self.names["__doc__"], "")

    def test_texts_that_are_used_stay(self) -> None:
        self.assertEqual(self.names["SAID"], "Of the module, too.")
        self.assertEqual(self.names["Used"].again, "Of a class.")
        self.assertEqual(self.names["returned"](), "Of a function.")
        self.assertEqual(self.names["given"](), "a default")
        self.assertEqual(self.names["made"], ["xa first constant"])
        self.assertEqual(self.names["named"](), "a text")

    def test_many_constants_and_names(self) -> None:
        # Past 255 an instruction's argument takes more than its own byte.
        lines = [f"name{number} = 'text {number}'" for number in range(600)]
        names = executed("\n".join(['"""Of it."""', *lines, "__doc__ = 'text 256'"]))
        for number in range(600):
            self.assertEqual(names[f"name{number}"], f"text {number}")

    @given(strategies.lists(strategies.sampled_from(("aa", "bb", "cc", "")), max_size=6))
    def test_what_functions_return(self, texts: list[str]) -> None:
        body = "\n".join(f"    {text!r}" for text in texts)
        source = f"def f():\n{body}\n    return {texts!r}, {''.join(texts)!r}, __name__"
        self.assertEqual(executed(source)["f"](), (texts, "".join(texts), "source"))


class LoadingTests(SynchronousTestCase):
    """In processes of their own."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-terse-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def run_python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_imports_and_their_compiled_files(self) -> None:
        (self.directory / "told.py").write_text(_MODULE)
        path = str(self.directory)
        begin = f"import sys; sys.dont_write_bytecode = False; sys.path.insert(0, {path!r});"
        tell = "import told; print(repr(told.waits.__doc__))"
        terse = "from dockerapi.terse import load_without_docstrings as load; load();"
        for load, docstring in ((terse, ""), ("", "Of a coroutine."), (terse, "")):
            # The first writes the compiled file that the others read.
            self.assertEqual(self.run_python("-c", begin + load + tell).strip(), repr(docstring))

    def test_the_help_of_the_command(self) -> None:
        # Of some options it is their docstring.
        help_text = self.run_python("-m", "dockerapi", "--help")
        self.assertIn("Print the version and exit.", help_text)
        self.assertIn("Display this help and exit.", help_text)
