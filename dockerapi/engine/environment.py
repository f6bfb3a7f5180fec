"""A job's environment: named text values with typed access (Docker 1.2's `engine.Env`).

Rule: everything is kept as text; what cannot be read as asked for gives the zero value of its type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

_FALSE = frozenset({"", "0", "no", "false", "none"})


class Environment:
    """Named values of a job, kept as text.

    Setting a name again replaces its value. What cannot be read as asked for gives the zero value
    of its type, as in the source.
    """

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def setenv(self, name: str, value: str) -> None:
        """Set `name` to a text."""
        self._values[name] = value

    def setenv_bool(self, name: str, value: bool) -> None:
        """Set `name` to a truth value (kept as ``1`` or ``0``)."""
        self._values[name] = "1" if value else "0"

    def setenv_int(self, name: str, value: int) -> None:
        """Set `name` to a whole number."""
        self._values[name] = str(value)

    def setenv_list(self, name: str, values: Iterable[str]) -> None:
        """Set `name` to a list of texts (kept as JSON)."""
        self._values[name] = json.dumps(list(values))

    def exists(self, name: str) -> bool:
        """Tell whether `name` was set."""
        return name in self._values

    def getenv(self, name: str) -> str:
        """Return the text of `name`, or ``""``."""
        return self._values.get(name, "")

    def getenv_bool(self, name: str) -> bool:
        """Return the truth of `name`: all but empty, ``0``, ``no``, ``false`` and ``none``."""
        return self.getenv(name).strip().lower() not in _FALSE

    def getenv_int(self, name: str) -> int:
        """Return the whole number of `name`, or 0 where it is none."""
        try:
            return int(self.getenv(name))
        except ValueError:
            return 0

    def getenv_list(self, name: str) -> list[str]:
        """Return the list of `name`; a plain text is a list of one, an unset name an empty one."""
        text = self.getenv(name)
        if not text:
            return []
        try:
            values = json.loads(text)
        except ValueError:
            return [text]
        return [str(value) for value in values] if isinstance(values, list) else [text]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)
