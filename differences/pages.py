"""The commands and options that the installed docker CLI knows, read from its help pages.

Rule: the pages are the list; nothing here knows the name of an option.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator

#: The groups of commands whose pages are tried.
GROUPS = ("container", "volume", "system")

#: Every page has it, and no server sees it.
_EVERYWHERE = "--help"

_COMMAND = re.compile(r"^  ([a-z][a-z-]*)\*? {2,}\S")
_OPTION = re.compile(r"^ {2,6}(?:-\w, )?(--[a-z0-9][a-z0-9-]*)")


def commands(page: str) -> list[str]:
    """Return the names under `Commands:` of the help page of a group."""
    return [found[1] for line in _section(page, "Commands:") if (found := _COMMAND.match(line))]


def options(page: str) -> list[str]:
    """Return the long names under `Options:` of the help page of a command, without `--help`."""
    found = [match[1] for line in _section(page, "Options:") if (match := _OPTION.match(line))]
    return [name for name in found if name != _EVERYWHERE]


def help_page(*command: str) -> str:
    """Return what `docker COMMAND --help` prints; raises CalledProcessError."""
    return subprocess.run(
        ("docker", *command, "--help"), capture_output=True, check=True, text=True
    ).stdout


def everything(read: Callable[..., str] = help_page) -> list[str]:
    """Return what there is to try: `container run`, `container run --memory`, and so on."""
    found = []
    for group in GROUPS:
        for name in commands(read(group)):
            command = f"{group} {name}"
            found.append(command)
            found += [f"{command} {option}" for option in options(read(group, name))]
    return found


def _section(page: str, title: str) -> Iterator[str]:
    """Yield the lines below `title`, until a line that begins at the margin."""
    inside = False
    for line in page.splitlines():
        if line == title:
            inside = True
        elif inside and line and not line.startswith(" "):
            return
        elif inside:
            yield line
