"""What is wrong with a text that is no JSON, in the words of Go's decoder.

Source: Go's encoding/json, which scans byte by byte and names the first character that it did not
expect. Rule: only for texts that a decoder has refused; finding the words need not be fast.
"""

from __future__ import annotations

import json

_KEY = "looking for beginning of object key string"
#: Python's words for what it expected, and Go's for where it was.
_PLACES = {
    "Expecting property name enclosed in double quotes": _KEY,
    "Illegal trailing comma before end of object": _KEY,
    "Illegal trailing comma before end of array": "looking for beginning of value",
    "Expecting value": "looking for beginning of value",
    "Expecting ':' delimiter": "after object key",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": "in \\u hexadecimal character escape",
}
_LITERALS = ("null", "true", "false")


def explain(body: bytes) -> str:
    """Return what is wrong with `body`, as in ``invalid character 'n' after object key``."""
    text = body.decode("utf-8", "replace")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return _words(text, error)
    except (ValueError, RecursionError):
        return "exceeded max depth"
    # Python takes a few things that are no JSON: NaN, Infinity, halves of surrogate pairs.
    return "invalid value"


def _words(text: str, error: json.JSONDecodeError) -> str:
    kind, position = error.msg, error.pos
    if kind.startswith("Illegal trailing comma"):
        # The fault is not the comma but what does not follow it.
        position += 1 + len(text[position + 1 :]) - len(text[position + 1 :].lstrip())
    if kind.startswith("Unterminated string") or position >= len(text):
        return "unexpected EOF"
    if kind == "Expecting value" and (misspelt := _literal(text, position)):
        return misspelt
    if kind == "Expecting ',' delimiter":
        place = (
            "after object key:value pair" if _in_object(text, position) else "after array element"
        )
    else:
        place = next((go for python, go in _PLACES.items() if kind.startswith(python)), "")
    if kind.startswith("Invalid \\escape"):
        position += 1
    return f"invalid character {_quoted(text[position : position + 1])} {place}".rstrip()


def _literal(text: str, position: int) -> str:
    """Return the words for a literal that begins well and goes on wrong, or nothing."""
    for literal in _LITERALS:
        if text[position] != literal[0]:
            continue
        for offset, wanted in enumerate(literal):
            given = text[position + offset : position + offset + 1]
            if not given:
                return "unexpected EOF"
            if given != wanted:
                shown = _quoted(given)
                return (
                    f"invalid character {shown} in literal {literal} (expecting {_quoted(wanted)})"
                )
    return ""


def _in_object(text: str, position: int) -> bool:
    """Tell whether the innermost bracket open before `position` is an object's."""
    open_brackets: list[str] = []
    in_string = escaped = False
    for character in text[:position]:
        if in_string:
            in_string = escaped or character != '"'
            escaped = not escaped and character == "\\"
        elif character == '"':
            in_string = True
        elif character in "{[":
            open_brackets.append(character)
        elif character in "}]" and open_brackets:
            open_brackets.pop()
    return bool(open_brackets) and open_brackets[-1] == "{"


def _quoted(character: str) -> str:
    """Return a character as Go's error texts show it."""
    special = {"'": "'\\''", '"': "'\"'"}
    if character in special:
        return special[character]
    shown = character if character.isprintable() else ascii(character)[1:-1]
    return f"'{shown}'"
