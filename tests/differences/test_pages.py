"""Help pages are read whole: what a newer CLI adds is seen."""

from __future__ import annotations

import re
import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from differences import pages
from differences.cases import Case, load, unknown, untried

PAGE = """
Usage:  docker container logs [OPTIONS] CONTAINER

Fetch the logs of a container

Options:
      --details        Show extra details
  -f, --follow         Follow log output, see --nothing
      --since string   Show logs since timestamp
                       --as-it-says
      --help           Print usage

Run 'docker --host' for more
"""
GROUP = """
Usage:  docker container COMMAND

Commands:
  attach      Attach local streams
  buildx*     A plugin

Run 'docker container COMMAND --help' for more information on a command.
"""
NAME = st.from_regex(re.compile(r"[a-z][a-z-]{0,20}[a-z]", re.ASCII), fullmatch=True)


class PageTests(SynchronousTestCase):
    def test_options_and_commands(self) -> None:
        self.assertEqual(pages.options(PAGE), ["--details", "--follow", "--since"])
        self.assertEqual(pages.commands(GROUP), ["attach", "buildx"])
        self.assertEqual(pages.options(GROUP), [])

    @given(st.lists(NAME, unique=True), st.data())
    def test_every_option_is_found(self, names: list[str], data: st.DataObject) -> None:
        page = "Options:\n"
        for name in names:
            short = data.draw(st.sampled_from(["    ", *(f"-{c}, " for c in string.ascii_letters)]))
            page += f"  {short}--{name} list   What it does\n{'':25}and more of it\n"
        found = [f"--{name}" for name in names if name != "help"]
        self.assertEqual(pages.options(page), found)

    def test_everything_is_asked_of_every_group(self) -> None:
        asked = []

        def read(*command: str) -> str:
            asked.append(command)
            return GROUP if len(command) == 1 else PAGE

        found = pages.everything(read)
        self.assertIn("volume attach --follow", found)
        self.assertIn("system buildx", found)
        self.assertEqual(len(asked), 3 * len(pages.GROUPS))


class TableTests(SynchronousTestCase):
    def test_the_tables_are_read_and_try_what_they_say(self) -> None:
        cases = load()
        self.assertGreater(len(cases), 500)
        named = {name for case in cases for name in case.covers}
        self.assertIn("container run --memory", named)

    def test_what_no_case_tries_is_told_and_what_no_cli_has(self) -> None:
        cases = [Case(covers=("volume ls", "volume ls --old"), steps=("true",))]
        wanted = ["volume ls", "volume ls --new"]
        self.assertEqual(untried(wanted, cases), ["volume ls --new"])
        self.assertEqual(unknown(wanted, cases), ["volume ls --old"])
