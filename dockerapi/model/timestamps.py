"""Points in time as the API writes them.

Rule: pure; inside they are whole nanoseconds since 1970, text only at the edge.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dockerapi.model.malformed import Malformed

NANOSECONDS = 1_000_000_000


def parse_unix(field: str, text: str) -> int:
    """Read ``1136073845.000000001`` (seconds since 1970, up to nine decimals) as nanoseconds.

    Raises `Malformed` that names `field`.
    """
    match = re.fullmatch(r"(-?\d{1,12})(?:\.(\d{1,9}))?", text, re.ASCII)
    if match is None:
        raise Malformed(
            f"invalid value for '{field}': invalid timestamp \"{text}\": "
            f'invalid seconds "{text}": invalid syntax'
        )
    return int(match[1]) * NANOSECONDS + int((match[2] or "0").ljust(9, "0"))


def rfc3339(nanoseconds: int) -> str:
    """Write nanoseconds since 1970 as Go's RFC3339Nano in UTC: no trailing zeros."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    decimals = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{whole}{decimals}Z"


def go_duration(seconds: float) -> str:
    """Return a time as Go writes it, as in ``1m30s``, ``1.5s`` or ``50ms``."""
    nanoseconds = round(seconds * NANOSECONDS)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if 0 < nanoseconds < min(size * 1000, NANOSECONDS):
            return f"{nanoseconds / size:.9g}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * NANOSECONDS)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest // NANOSECONDS}.{rest % NANOSECONDS:09d}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
