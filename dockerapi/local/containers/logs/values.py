"""Values of log options as dockerd reads them: sizes, numbers, booleans.

Source: Docker's go-units and Go's strconv, whose texts these are. Rule: pure; every error is a
ValueError with the text for the client.
"""

from __future__ import annotations

import re

_SUFFIXES = "kmgtp"
_SIZE = re.compile(r"([\d. ]*\d\.?) ?([^\d. ]*)", re.ASCII)


def parse_size(text: str) -> int:
    """Read ``10m`` (10,000,000) as bytes; raise ValueError in the words of Docker's go-units."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    suffix = match[2].lower()
    try:
        number = float(match[1])
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{match[1]}": invalid syntax') from None
    if suffix in ("", "b"):
        return int(number)
    if suffix[0] not in _SUFFIXES or suffix[1:] not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(number * 1000 ** (_SUFFIXES.index(suffix[0]) + 1))


def number(text: str, function: str = "Atoi") -> int:
    """Read a whole number; `function` is the one of Go's that an error names.

    Raises `ValueError` in Go's words.
    """
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) is None:
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
    return int(text)


def boolean(text: str) -> bool:
    """Read a boolean.

    Raises `ValueError` in Go's words.
    """
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
