"""What of the settings the API needs."""

from __future__ import annotations

import msgspec

from dockerapi._version import __version__
from dockerapi.model.versions import OLDEST, Version


class ApiSettings(msgspec.Struct, frozen=True):
    """How the API answers.

    :ivar min_api_version: the oldest version that is served.
    :ivar cors_origins: origins that may use the API from a browser; ``*`` for all.
    :ivar allowed_hosts: further names by which clients may call this server over TCP.
    :ivar debug: whether the pages below `/debug/` are served.
    :ivar logging: whether requests are logged.
    :ivar version: the server's own version.
    """

    min_api_version: Version = OLDEST
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    debug: bool = False
    logging: bool = True
    version: str = __version__
