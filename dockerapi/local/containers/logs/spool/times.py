"""Times as conmon writes them: ``2026-11-24T20:00:00.123456789+01:00``.

Rule: the latest whole second is remembered, since many lines share it.
"""

from __future__ import annotations

from datetime import datetime

from dockerapi.model.timestamps import NANOSECONDS, rfc3339


class Times:
    """Reads times."""

    def __init__(self) -> None:
        self._known: tuple[bytes, bytes] = (b"", b"")
        self._seconds = 0

    def nanoseconds(self, stamp: bytes) -> int:
        """Return nanoseconds since 1970; 0 for what is no time."""
        second, offset = stamp[:19], stamp[29:]
        if (second, offset) != self._known:
            try:
                moment = datetime.fromisoformat((second + offset).decode("ascii"))
            except (ValueError, UnicodeDecodeError):
                return 0
            self._known, self._seconds = (second, offset), int(moment.timestamp())
        try:
            return self._seconds * NANOSECONDS + int(stamp[20:29])
        except ValueError:
            return 0

    def shown(self, stamp: bytes) -> bytes:
        """Return the time in UTC as dockerd writes it, with nine decimals."""
        if stamp.endswith(b"+00:00") and len(stamp) == 35:
            return stamp[:29] + b"Z"
        moment = self.nanoseconds(stamp)
        whole = rfc3339(moment - moment % NANOSECONDS).encode()
        return whole[:19] + b".%09dZ" % (moment % NANOSECONDS)
