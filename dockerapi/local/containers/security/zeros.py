"""Zero bytes in what a client sends, which the kernel and C programs take for an end.

Rule: refused before anything is made, so that what was checked and what is used are the same.
"""

from __future__ import annotations

import msgspec

from dockerapi.engine.errors import InvalidParameter


def refuse_zero_bytes(*requests: msgspec.Struct) -> None:
    """Raise `InvalidParameter` where any text in `requests` holds a zero byte."""
    for request in requests:
        # Within JSON it is always escaped; a backslash before it would be one, too.
        text = msgspec.json.encode(request)
        if b"\\u0000" in text.replace(b"\\\\", b""):
            raise InvalidParameter("invalid argument: a text holds a zero byte")
