"""The version in a path, held against what the server speaks.

Source: moby's version middleware; below 1.24 Docker 1.2's `makeHttpHandler`.
"""

from __future__ import annotations

import attrs
import msgspec

from dockerapi.engine.facts import Facts
from dockerapi.model.versions import Version

#: From here on errors are JSON; before they were plain text.
JSON_ERRORS = Version(1, 24)


@attrs.frozen
class VersionRefused(Exception):
    """A version that is not served; `status` and `message` are for the client."""

    status: int
    message: str


class Requested(msgspec.Struct, frozen=True):
    """A version as it stands in a path, as in ``1.41.0``.

    Any digits and dots are accepted, as dockerd's pattern does; what is missing counts as 0.
    """

    text: str
    parts: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Requested:
        """Read digits and dots; never fails for those."""
        parts = [int(part[:9] or 0) for part in text.split(".")]
        while parts and parts[-1] == 0:
            parts.pop()
        return cls(text, tuple(parts))

    @property
    def version(self) -> Version:
        """The first two parts."""
        major, minor = (*self.parts, 0, 0)[:2]
        return Version(major, minor)

    def check(self, facts: Facts, oldest: Version) -> Version:
        """Return the version; raise `VersionRefused` when it is outside `oldest` to newest."""
        if self.parts > tuple(facts.newest):
            if facts.newest < JSON_ERRORS:
                text = f"client : {self.text}, server: {facts.newest}"
                raise VersionRefused(404, f"client and server don't have same version ({text})")
            raise VersionRefused(
                400,
                f"client version {self.text} is too new. "
                f"Maximum supported API version is {facts.newest}",
            )
        if self.parts < tuple(oldest):
            raise VersionRefused(
                400,
                f"client version {self.text} is too old. Minimum supported API version is "
                f"{oldest}, please upgrade your client to a newer version",
            )
        return self.version
