"""JSON as dockerd writes it: line separators escaped, and ended by a newline.

Rule: pure; what is written is UTF-8, whatever bytes a text came from.
"""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def to_json(value: Any) -> bytes:
    """Return `value` as JSON with U+2028 and U+2029 escaped, and a newline.

    Source: Go's encoder without HTML escapes, as dockerd uses it.
    """
    try:
        encoded = _encode(value)
    except UnicodeEncodeError:
        encoded = _encode(_without_surrogates(value))
    for character, escape in _ESCAPES:
        if character in encoded:
            encoded = encoded.replace(character, escape)
    return encoded + b"\n"


def escape_html(encoded: bytes) -> bytes:
    """Escape ``<``, ``>`` and ``&``, as dockerd does in the lines of streams.

    These can only stand inside strings.
    """
    for character in (b"<", b">", b"&"):
        encoded = encoded.replace(character, b"\\u00%02x" % ord(character))
    return encoded


_ESCAPES = (
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def _without_surrogates(value: Any) -> Any:
    """Return `value` with bytes that are no UTF-8 replaced by U+FFFD, as Go does."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return _without_surrogates(msgspec.to_builtins(value))
    return value
