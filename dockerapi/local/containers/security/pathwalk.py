"""Where a path leads inside a root, told name by name where the kernel alone cannot tell.

Rule: as the kernel resolves it: links and `..` stay inside the root; no path is followed for ever.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections import deque
from collections.abc import Callable

#: How many names and links are followed in one path, which is enough for any honest one.
_MOST_STEPS = 4096


class TooManySteps(OSError):
    """A path that nobody follows to its end (ELOOP)."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ELOOP, os.strerror(errno.ELOOP), path)


def leads_to(
    path: str,
    link_at: Callable[[str], str | None],
    ends_at: Callable[[str], bool] = lambda _: False,
) -> str:
    """Return where `path` leads inside a root, links followed.

    `link_at` returns what the symbolic link at a place inside the root says, None where there is
    no link; it sees each place on the way, and what it raises ends the walk. Where `ends_at` says
    so the walk ends, too, before that place is looked at: then the names behind it are added as
    they are. Raises `TooManySteps`.
    """
    pending = deque(_names(path))
    reached = "/"
    for _ in range(_MOST_STEPS):
        if not pending:
            return reached
        step = posixpath.normpath(posixpath.join(reached, pending.popleft()))
        if ends_at(step):
            return posixpath.join(step, *pending)
        target = link_at(step)
        if target is None:
            reached = step
            continue
        if target.startswith("/"):
            reached = "/"
        pending.extendleft(reversed(_names(target)))
    raise TooManySteps(path)


def link_of(descriptor: int) -> str | None:
    """Return what an open (O_PATH | O_NOFOLLOW) symbolic link says; None for anything else."""
    if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
        return None
    return os.readlink("", dir_fd=descriptor)


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]
