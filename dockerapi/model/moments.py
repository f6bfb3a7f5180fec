"""Points in time as clients give them in filters: a moment, or how long ago it was.

Source: `until` of ContainerPrune and ImagePrune, as dockerd reads it. Rule: pure, but for the
present that a duration counts from.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

from dockerapi.model.timestamps import NANOSECONDS, parse_unix

_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(h|ms|m|s|us|ns)", re.ASCII)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def parse_until(text: str) -> int:
    """Read a time (seconds since 1970, RFC 3339, or a duration before now) as nanoseconds.

    Raises `Malformed`.
    """
    found = _DURATION.findall(text)
    if found and "".join(number + unit for number, unit in found) == text:
        ago = sum(float(number) * _UNITS[unit] for number, unit in found)
        return time.time_ns() - int(ago * NANOSECONDS)
    if "T" in text or text.count("-") == 2:
        moment = parse_time(text)
        if moment:
            return moment
    return parse_unix("until", text)


def parse_time(text: Any) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 text; 0 for anything else."""
    if not isinstance(text, str) or len(text) > 64:
        return 0
    head, dot, tail = text.partition(".")
    decimals = ""
    if dot:
        rest = tail.lstrip("0123456789")
        decimals, text = tail[: len(tail) - len(rest)], head + rest
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        seconds = int(moment.timestamp())
    except (OverflowError, ValueError):
        return 0
    return seconds * NANOSECONDS + int(decimals[:9].ljust(9, "0") if decimals else 0)
