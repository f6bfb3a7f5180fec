"""Output and inspection without what differs from one run to the next.

Rule: what a user would call the same becomes the same (ids, times, chosen ports and addresses,
paths of a side); nothing else is touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_TIME = r"(?!0001-)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?(?: UTC)?"
_SPAN = r"(?:Less than a second|About a minute|\d+(?:\.\d+)? seconds?|About an hour|\d+ minutes?)"
_RULES = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\b[0-9a-f]{64}\b", "ID"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (_TIME, "TIME"),
        (rf"\b{_SPAN} ago\b", "AGO"),
        (rf"\bUp {_SPAN}", "Up AGO"),
        (r"\b10\.213\.7\.(?!1\b|255\b|0\b)\d+\b", "ADDRESS"),
        (r"\b02:42:0a:d5:07:[0-9a-f]{2}\b", "MAC"),
        # Ports that are chosen, of the kernel's range and dockerd's.
        (r"\b(?:3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|60\d{3})\b", "PORT"),
        (r"[ \t]+", " "),
        (r" +(?=\n|$)", ""),
    )
)

#: Members of an inspection that hold what the system chose.
_CHOSEN = {
    "Pid": "PID",
    "EndpointID": "ID",
    "NetworkID": "ID",
    "SandboxID": "ID",
    "CreatedAt": "TIME",
}
#: Lists in which the order says nothing.
_UNORDERED = ("Config.Env",)


def text(raw: str, root: str) -> str:
    """Return output of a command, with `ROOT` for the side's directory `root`."""
    raw = raw.replace("\r\n", "\n").replace(root, "ROOT")
    for pattern, name in _RULES:
        raw = pattern.sub(name, raw)
    return raw.strip("\n")


def fields(value: Any, root: str, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every value in an inspection.

    Lists count as one value, unless they hold objects; an empty object or list is a value.
    """
    if isinstance(value, dict) and value:
        for key, below in value.items():
            name = text(key, root)
            yield from fields(_without_choice(key, below), root, f"{at}.{name}" if at else name)
    elif at in _UNORDERED and isinstance(value, list):
        yield at, text(json.dumps(sorted(value), ensure_ascii=False), root)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        entries = sorted((dict(fields(entry, root)) for entry in value), key=repr)
        for number, entry in enumerate(entries):
            yield from ((f"{at}[{number}].{path}", shown) for path, shown in entry.items())
    else:
        yield at, text(json.dumps(value, ensure_ascii=False), root)


def _without_choice(key: str, value: Any) -> Any:
    """Return `value`, or a name for it where the system chose it and there is one at all."""
    return (
        _CHOSEN[key] if key in _CHOSEN and value and not isinstance(value, dict | list) else value
    )
