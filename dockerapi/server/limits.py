"""Limits of the process and the kernel that a server with many clients meets.

Rule: limits are raised where we may, and told of where we may not.
"""

from __future__ import annotations

import resource
from pathlib import Path

from twisted.logger import Logger

#: Enough descriptors for the clients that a full queue and a busy server have.
WANTED_DESCRIPTORS = 65536
_SOMAXCONN = Path("/proc/sys/net/core/somaxconn")

log = Logger()


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors as far as is allowed; return what it is now.

    At the limit Twisted's own recovery resets clients that wait.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinity = resource.RLIM_INFINITY
    wanted = WANTED_DESCRIPTORS if hard == infinity else min(WANTED_DESCRIPTORS, hard)
    if soft != infinity and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def warn_of_short_queue(backlog: int, somaxconn: Path = _SOMAXCONN) -> None:
    """Log a warning where the kernel's limit cuts the ports' queues short."""
    try:
        limit = int(somaxconn.read_text())
    except (OSError, ValueError):
        return
    if limit < backlog:
        log.warn(
            "net.core.somaxconn is {limit}: no more than that many clients can wait on a port "
            "(--backlog {backlog})",
            limit=limit,
            backlog=backlog,
        )
