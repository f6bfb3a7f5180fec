"""Counts connections, in all and by peer.

Rule: who counts in also counts out, once.
"""

from __future__ import annotations

import resource
from collections import Counter

from dockerapi.http.limits import Limits


class ConnectionCounter:
    """Counts the connections of one or more listeners, up to their limits.

    :ivar open: how many there are.
    """

    def __init__(self, limits: Limits) -> None:
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._total = limits.connections
        if soft != resource.RLIM_INFINITY:
            self._total = min(self._total, max(soft - limits.spare_descriptors, soft // 2))
        self._per_peer = limits.connections_per_peer
        self._by_peer: Counter[object] = Counter()
        self.open = 0

    @property
    def full(self) -> bool:
        """Whether no more fit."""
        return self.open >= self._total

    def enter(self, account: object) -> bool:
        """Count one connection of `account`; return whether it is within the limits."""
        if self.full or self._by_peer[account] >= self._per_peer:
            return False
        self.open += 1
        self._by_peer[account] += 1
        return True

    def leave(self, account: object) -> None:
        """Count it out again."""
        self.open -= 1
        self._by_peer[account] -= 1
        if not self._by_peer[account]:
            del self._by_peer[account]
