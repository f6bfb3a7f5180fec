"""Request paths as dockerd's router reads them.

Source: Go's `net/url` (escapes) and `path.Clean`, gorilla/mux (an unclean path is redirected).
Rule: pure; a path is read once, and what it means is the router's to say.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)


class BadEscape(ValueError):
    """A percent sign that begins no escape, or such; `args[0]` is Go's text for it."""


def check_escapes(raw: bytes) -> None:
    """Raise `BadEscape` where a percent sign in `raw` is not followed by two hex digits."""
    if b"%" in raw and (match := _BAD_ESCAPE.search(raw)) is not None:
        shown = match[0].decode("ascii", "backslashreplace")
        raise BadEscape(f'invalid URL escape "{shown}"')


def check_query(raw: bytes) -> None:
    """Raise `BadEscape` for a query string that Go's `url.ParseQuery` does not take."""
    check_escapes(raw)
    if b";" in raw:
        raise BadEscape("invalid semicolon separator in query")


def decode(raw: bytes) -> str:
    """Return the path that `raw` escapes; bytes that are no UTF-8 become U+FFFD.

    Raises `BadEscape`.
    """
    check_escapes(raw)
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def clean(path: str) -> str:
    """Return `path` without empty, ``.`` and ``..`` segments; a trailing slash stays."""
    if "//" not in path and "/." not in path:
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    cleaned = "/" + "/".join(kept)
    return cleaned + "/" if path.endswith("/") and kept else cleaned
