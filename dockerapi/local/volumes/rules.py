"""What a volume may be called, and which options it may have.

Source: dockerd's rules and texts. Rule: pure functions; what only a mount can tell is seen there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dockerapi.engine.errors import EngineError, InvalidParameter, NotFound
from dockerapi.local.volumes.volume import LOCAL

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_LONGEST = 255
_OPTIONS = ("type", "o", "device", "size")
_MANDATORY = ("device", "type")
_SIZE = re.compile(r"\d+(?:\.\d*)? ?(?:[kmgtp]i?)?b?", re.IGNORECASE)


def check_name(name: str) -> None:
    """Raise `InvalidParameter` for what is no name of a volume."""
    if len(name) == 1:
        raise InvalidParameter(
            f"create {name}: volume name is too short, names should be at least two "
            "alphanumeric characters"
        )
    if _NAME.fullmatch(name) is None:
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, '
            "use absolute path"
        )
    if len(name) > _LONGEST:
        raise InvalidParameter(
            f'create {name}: "{name}" is too long: names of volumes have at most '
            f"{_LONGEST} characters"
        )


def check_driver(name: str, driver: str) -> None:
    """Raise `NotFound` for a driver other than the local one; empty stands for that."""
    if driver not in ("", LOCAL):
        raise NotFound(
            f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
        )


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raise `InvalidParameter` for options that the local driver does not have, or that lack some.

    `EngineError` for a size that is none, as dockerd does.
    """
    if not options:
        return
    for option, text in options.items():
        if "\0" in text:
            raise InvalidParameter(f"create {name}: an option holds a zero byte")
        if option not in _OPTIONS:
            raise InvalidParameter(f'create {name}: invalid option: "{option}"')
    if set(options) != {"size"}:
        for option in _MANDATORY:
            if option not in options:
                raise InvalidParameter(f'create {name}: missing required option: "{option}"')
    size = options.get("size")
    if size is None:
        return
    if _SIZE.fullmatch(size) is None:
        raise EngineError(f"create {name}: invalid size: '{size}'")
    if any(digit in size for digit in "123456789"):
        raise InvalidParameter(f"create {name}: quota size requested but no quota support")
