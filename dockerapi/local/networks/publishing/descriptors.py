"""Whether the process may have as many more descriptors as ports are wanted.

Rule: a part stays for everybody else, so that no request takes the last ones from the server.
"""

from __future__ import annotations

import os
import resource

from dockerapi.engine.errors import EngineError

#: What is left for clients, logs and files; of a small limit, a quarter.
_SPARE = 256
#: So many are not counted: to look costs more than they do.
_FEW = 8


def check_descriptors(wanted: int) -> None:
    """Raise `EngineError` with a remedy where `wanted` more descriptors are too many."""
    if wanted <= _FEW:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return
    used = len(os.listdir("/proc/self/fd"))
    if used + wanted > limit - min(_SPARE, limit // 4):
        raise EngineError(
            f"too many published ports: they need {wanted} descriptors, and the server has {used} "
            f"of at most {limit} in use; raise its limit of open files (LimitNOFILE, ulimit -n) or "
            "publish on one address only"
        )
