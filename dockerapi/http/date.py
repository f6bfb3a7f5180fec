"""The Date header, formatted once a second.

Rule: asking costs one look at the clock.
"""

from __future__ import annotations

import time
from email.utils import formatdate

_second = 0
_line = b""


def date_line() -> bytes:
    """Return the header line for now, as in ``Date: Tue, 24 Nov 2026 21:30:00 GMT`` CR LF."""
    global _second, _line
    second = int(time.time())
    if second != _second:
        _line = b"Date: %b\r\n" % formatdate(second, usegmt=True).encode()
        _second = second
    return _line
