"""The log drivers that send elsewhere, by name.

Rule: a driver is a module with its options' names, a check of their values, and a way to make one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from dockerapi.local.containers.logs.drivers import fluentd, gelf, journald, syslog
from dockerapi.local.containers.logs.drivers.message import Driver, Origin

Options = Mapping[str, str]


class Kind(msgspec.Struct, frozen=True):
    """One kind of driver.

    :ivar options: the names of its own options.
    :ivar check: raises ValueError in dockerd's words for values that cannot be.
    :ivar make: returns the driver of a container; raises ValueError.
    :ivar tag: the template of its messages' tag where a container gives none.
    :ivar unknown: dockerd's text for an option that it has not.
    """

    options: frozenset[str]
    check: Callable[[Options], None]
    make: Callable[[Options, Origin, Any], Driver]
    tag: str
    unknown: str


_UNKNOWN = "unknown log opt '{}' for %s log driver"

KINDS: Mapping[str, Kind] = {
    "syslog": Kind(syslog.OPTIONS, syslog.check, syslog.make, "{{.ID}}", _UNKNOWN % "syslog"),
    "gelf": Kind(
        gelf.OPTIONS, gelf.check, gelf.make, "{{.ID}}", 'unknown log opt "{}" for gelf log driver'
    ),
    "fluentd": Kind(fluentd.OPTIONS, fluentd.check, fluentd.make, "{{.ID}}", _UNKNOWN % "fluentd"),
    "journald": Kind(
        journald.OPTIONS, journald.check, journald.make, "{{.ID}}", _UNKNOWN % "journald"
    ),
}
