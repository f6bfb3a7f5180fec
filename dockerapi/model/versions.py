"""API versions: their order, their bounds, and what a version did not have yet.

Rule: every difference between versions that is not a route's own stands here or beside its type.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Version(NamedTuple):
    """An API version; compares by major, then minor number."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``1.41``; what follows a second dot is ignored, a missing part is 0.

        Raises ValueError for anything else.
        """
        match = re.fullmatch(r"(\d{1,4})(?:\.(\d{1,4}))?(?:\.[\d.]*)?", text)
        if match is None:
            raise ValueError(f"not an API version: {text!r}")
        return cls(int(match[1]), int(match[2] or 0))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


#: The newest version of the specification.
NEWEST = Version(1, 55)
#: The oldest version that is served unless an option lowers it.
OLDEST = Version(1, 24)
#: The oldest version that can be asked for.
ANCIENT = Version(1, 12)
