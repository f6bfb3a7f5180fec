"""Signals by number or name.

Source: signal(7). Rule: the numbers are this host's.
"""

from __future__ import annotations

import re
import signal

from dockerapi.engine.errors import InvalidParameter

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBERS = {name.name.removeprefix("SIG"): int(name) for name in signal.Signals}
_NUMBERS |= {
    **{f"RTMIN+{offset}": int(signal.SIGRTMIN) + offset for offset in range(1, 16)},
    **{f"RTMAX-{offset}": int(signal.SIGRTMAX) - offset for offset in range(1, 15)},
}


def parse_signal(text: str) -> int:
    """Return the number of ``9``, ``KILL`` or ``SIGKILL``.

    Raises `InvalidParameter` where there is no such signal.
    """
    if _NUMBER.fullmatch(text) and (number := int(text)):
        if 0 < number <= int(signal.SIGRTMAX):
            return number
        raise InvalidParameter(f"the linux daemon does not support signal {number}")
    if (found := _NUMBERS.get(text.upper().removeprefix("SIG"))) is not None:
        return found
    raise InvalidParameter(f"invalid signal: {text}")
