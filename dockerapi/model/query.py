"""A query string with dockerd's rules for reading its values.

Rule: syntax is checked here, meaning by the backend.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from dockerapi.model.malformed import Malformed

#: What Go's Atoi reads: Python's int would also take spaces, underscores and other digits.
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = 1 << 63
_FALSE = frozenset({"", "0", "no", "false", "none"})


class Query:
    """The values of a query string, by name; the first of several counts (`all` has every one)."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True, errors="surrogateescape"):
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of `name`, or `default` where it is missing."""
        values = self._values.get(name)
        return values[0] if values else default

    def all(self, name: str) -> list[str]:
        """Return every value of `name`, in order."""
        return list(self._values.get(name, ()))

    def boolean(self, name: str, default: bool = False) -> bool:
        """Return the truth of `name` as dockerd reads it: all but empty, 0, no, false, none."""
        if name not in self._values:
            return default
        return self.text(name).strip().lower() not in _FALSE

    def integer(self, name: str, default: int = 0) -> int:
        """Return the whole number `name`, or `default` where it is missing or empty.

        Raises `Malformed` in the words of Go's strconv, as dockerd does.
        """
        text = self.text(name)
        return parse_integer(text) if text else default


def parse_integer(text: str) -> int:
    """Return the whole number that `text` is.

    Raises `Malformed` in the words of Go's strconv.
    """
    if _INTEGER.fullmatch(text) is None:
        raise Malformed(f'strconv.Atoi: parsing "{text}": invalid syntax')
    # Longer texts are out of range anyway, and Python refuses to read the longest.
    value = int(text[:32])
    if not -_INT64 <= value < _INT64:
        raise Malformed(f'strconv.Atoi: parsing "{text}": value out of range')
    return value
