"""What is known of a container's health, and how one more result changes it.

Source: `HealthConfig` and `Health` of the specification; the defaults are dockerd's. Rule: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import structs

from dockerapi.model.containers import ContainerConfig, Healthcheck
from dockerapi.model.timestamps import NANOSECONDS, rfc3339

_INTERVAL = _TIMEOUT = 30.0
_START_INTERVAL = 5.0
_RETRIES = 3
#: How many results are kept, and how much of the output of each, in bytes.
KEPT = 5
OUTPUT_LIMIT = 4096


class Check(msgspec.Struct, frozen=True):
    """How the health of a container is checked; times in seconds.

    :ivar argv: the command that is run inside.
    :ivar start_period: how long failures do not count, unless it was healthy before.
    :ivar start_interval: the pause between checks in that time.
    """

    argv: tuple[str, ...]
    interval: float = _INTERVAL
    timeout: float = _TIMEOUT
    retries: int = _RETRIES
    start_period: float = 0.0
    start_interval: float = _START_INTERVAL


def check_of(config: ContainerConfig) -> Check | None:
    """Return the check that `config` wants; None for none."""
    wanted = config.healthcheck
    test = (wanted.test or []) if wanted is not None else []
    if wanted is None or not test or test[0] == "NONE":
        return None
    if test[0] == "CMD-SHELL":
        argv = [*(config.shell or ["/bin/sh", "-c"]), *test[1:2]]
    elif test[0] == "CMD":
        argv = test[1:]
    else:
        argv = []
    if not argv:
        return None
    return Check(
        tuple(argv),
        _seconds(wanted.interval) or _INTERVAL,
        _seconds(wanted.timeout) or _TIMEOUT,
        wanted.retries or _RETRIES,
        _seconds(wanted.start_period),
        _seconds(wanted.start_interval) or _START_INTERVAL,
    )


def inherited(own: Healthcheck | None, image: Any) -> Healthcheck | None:
    """Return a container's health check with what its image adds (an OCI configuration's)."""
    if not isinstance(image, Mapping) or not image:
        # An image's configuration is whatever its maker wrote.
        return own
    theirs = Healthcheck(
        image.get("Test"),
        image.get("Interval") or 0,
        image.get("Timeout") or 0,
        image.get("Retries") or 0,
        image.get("StartPeriod") or 0,
        image.get("StartInterval") or 0,
    )
    if own is None:
        return theirs
    return Healthcheck(
        *(getattr(own, name) or getattr(theirs, name) for name in Healthcheck.__struct_fields__)
    )


class Result(msgspec.Struct, frozen=True):
    """How one check went; times in nanoseconds since 1970.

    :ivar code: 0 is healthy, -1 one that did not end in time or could not be run.
    """

    start: int
    end: int
    code: int
    output: str

    def document(self) -> dict[str, Any]:
        """Return the specification's `HealthcheckResult`."""
        return {
            "Start": rfc3339(self.start),
            "End": rfc3339(self.end),
            "ExitCode": self.code,
            "Output": self.output,
        }


class Health(msgspec.Struct, frozen=True):
    """The specification's `Health`."""

    status: str = "starting"
    failing_streak: int = 0
    log: tuple[Result, ...] = ()

    def after(self, result: Result, check: Check, lasting: float) -> Health:
        """Return what follows from `result`, of a container that has run for `lasting` seconds."""
        log = (*self.log, result)[-KEPT:]
        if result.code == 0:
            return Health("healthy", 0, log)
        if self.status == "starting" and lasting < check.start_period:
            return Health(self.status, self.failing_streak, log)
        streak = self.failing_streak + 1
        return Health("unhealthy" if streak >= check.retries else self.status, streak, log)

    def unwatched(self) -> Health:
        """Return what dockerd says once nobody looks: of a container that ended or is paused."""
        return structs.replace(self, status="unhealthy")

    def document(self) -> dict[str, Any]:
        """Return what inspect tells."""
        return {
            "Status": self.status,
            "FailingStreak": self.failing_streak,
            "Log": [result.document() for result in self.log],
        }


def _seconds(nanoseconds: int) -> float:
    return nanoseconds / NANOSECONDS
