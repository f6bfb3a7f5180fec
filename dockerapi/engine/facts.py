"""The facts that an engine tells of itself.

Rule: a backend sets them in its start; every answer reads them as they are then.
"""

from __future__ import annotations

import attrs

from dockerapi.model.versions import NEWEST, OLDEST, Version


@attrs.define
class Facts:
    """What every answer of the API tells of the engine; a backend sets it in its start.

    :ivar newest: the newest API version that it speaks, and `oldest` the oldest.
    :ivar os: the operating system of its containers.
    :ivar experimental: whether experimental features are on.
    :ivar builder: version of the default builder (``1`` classic, ``2`` BuildKit); empty for none.
    :ivar swarm: state of its swarm, as in the `Swarm` header of ``/_ping``.
    """

    newest: Version = NEWEST
    oldest: Version = OLDEST
    os: str = "linux"
    experimental: bool = False
    builder: str = ""
    swarm: str = "inactive"
