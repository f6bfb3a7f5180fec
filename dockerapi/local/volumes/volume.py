"""A volume as the engine knows it.

Rule: a `Volume` never changes; its files are its driver's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dockerapi.model.timestamps import NANOSECONDS, rfc3339

#: The one driver that there is.
LOCAL = "local"
#: The label of volumes that nobody named.
ANONYMOUS = "com.docker.volume.anonymous"


class Volume(msgspec.Struct, frozen=True):
    """A volume.

    :ivar created: nanoseconds since 1970.
    :ivar labels: None where none were given, and so for `options`: clients see the difference.
    :ivar options: those of its driver: ``type``, ``o`` and ``device``.
    """

    name: str
    created: int
    labels: Mapping[str, str] | None = None
    options: Mapping[str, str] | None = None
    driver: str = LOCAL

    @property
    def anonymous(self) -> bool:
        """Whether nobody gave it its name."""
        return ANONYMOUS in (self.labels or {})

    @property
    def needs_mount(self) -> bool:
        """Whether its content is mounted on its directory, while it is used."""
        options = self.options or {}
        return bool(options.get("type") or options.get("device"))

    def document(self, mountpoint: str) -> dict[str, Any]:
        """Return the specification's `Volume`."""
        return {
            "CreatedAt": rfc3339(self.created // NANOSECONDS * NANOSECONDS),
            "Driver": self.driver,
            "Labels": None if self.labels is None else dict(self.labels),
            "Mountpoint": mountpoint,
            "Name": self.name,
            "Options": None if self.options is None else dict(self.options),
            "Scope": "local",
        }
