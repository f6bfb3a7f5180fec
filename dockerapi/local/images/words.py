"""Words of a Dockerfile's instructions: split at blanks, unquoted, with variables filled in.

Source: dockerd's lexer of instructions, whose texts for errors these are. Rule: variables have the
values that they had before the instruction; what is not set is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from dockerapi.model.malformed import Malformed

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-]")
#: What a backslash takes its meaning from between double quotes.
_ESCAPED = frozenset('"$\\')
#: How deep braces may stand in braces.
_DEEPEST = 20


def split(text: str) -> list[str]:
    """Split `text` at blanks that are not quoted; each word keeps its quotes."""
    return [match[0] for match in re.finditer(r"""(?:\\.|"(?:\\.|[^"\\])*"?|'[^']*'?|\S)+""", text)]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` without quotes, and with what its variables stand for.

    Raises `Malformed` for quotes or braces that do not end, and for substitutions that are none.
    """
    return _Word(text, variables, text).take()


class _Word:
    """One reading of a word."""

    def __init__(self, text: str, variables: Mapping[str, str], whole: str, depth: int = 0) -> None:
        self._text = text
        self._variables = variables
        self._whole = whole
        self._depth = depth
        self._at = 0

    def take(self) -> str:
        """Return all of it."""
        parts: list[str] = []
        while self._at < len(self._text):
            character = self._next()
            if character == "'":
                parts.append(self._single())
            elif character == '"':
                parts.append(self._double())
            elif character == "$":
                parts.append(self._variable())
            elif character == "\\":
                parts.append(self._next())
            else:
                parts.append(character)
        return "".join(parts)

    def _next(self) -> str:
        """Return the next character, or nothing at the end."""
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return character

    def _single(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise self._error("unexpected end of statement while looking for matching single-quote")
        quoted, self._at = self._text[self._at : end], end + 1
        return quoted

    def _double(self) -> str:
        parts: list[str] = []
        while character := self._next():
            if character == '"':
                return "".join(parts)
            if character == "$":
                parts.append(self._variable())
            elif character == "\\":
                following = self._next()
                parts.append(following if following in _ESCAPED else f"\\{following}")
            else:
                parts.append(character)
        raise self._error("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        """Return the value of the variable whose name comes next; a ``$`` alone is one."""
        if self._text[self._at : self._at + 1] == "{":
            return self._braces()
        name = self._name()
        return self._variables.get(name, "") if name else "$"

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _braces(self) -> str:
        self._at += 1
        name = self._name()
        if not name:
            raise self._error("syntax error: bad substitution")
        value = self._variables.get(name)
        modifier = self._next()
        if modifier == "}":
            return value or ""
        if modifier == ":":
            # What is empty counts as what is not set.
            value, modifier = value or None, self._next()
        if modifier not in ("-", "+", "?"):
            raise self._error(f"unsupported modifier ({modifier}) in substitution")
        other = self._inner()
        if modifier == "+":
            return other if value is not None else ""
        if value is None and modifier == "?":
            raise self._error(f"{name}: {other or 'is not allowed to be unset'}")
        return value if value is not None else other

    def _inner(self) -> str:
        """Return what stands up to the brace that ends this one, with its own variables."""
        start, open_braces = self._at, 1
        while open_braces and (character := self._next()):
            open_braces += (character == "{") - (character == "}")
        if open_braces:
            raise self._error("syntax error: missing '}'")
        if self._depth == _DEEPEST:
            raise self._error("substitutions are nested too deep")
        inner = self._text[start : self._at - 1]
        return _Word(inner, self._variables, self._whole, self._depth + 1).take()

    def _error(self, why: str) -> Malformed:
        whole = json.dumps(self._whole, ensure_ascii=False)
        return Malformed(f"failed to process {whole}: {why}")
