"""What lives in memory: by place of allocation where tracemalloc runs, else by type.

Rule: it only looks; nothing is switched on that would cost a server whom nobody asks.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc

from dockerapi.wire.pprof import Frame, Profile, Sample

_TYPES = [("inuse_objects", "count"), ("inuse_space", "bytes")]


def heap() -> Profile:
    """Return the heap: one sample for each place (or type), with objects and bytes."""
    samples = _by_place() if tracemalloc.is_tracing() else _by_type()
    return Profile(_TYPES, samples, period=("space", "bytes", 1))


def _by_place() -> list[Sample]:
    samples = []
    for statistic in tracemalloc.take_snapshot().statistics("traceback"):
        stack = tuple(
            Frame(f"{frame.filename}:{frame.lineno}", frame.filename, frame.lineno)
            for frame in reversed(statistic.traceback)
        )
        samples.append(Sample(stack, (statistic.count, statistic.size)))
    return samples


def _by_type() -> list[Sample]:
    counts: dict[type, list[int]] = {}
    for item in gc.get_objects():
        found = counts.setdefault(type(item), [0, 0])
        found[0] += 1
        found[1] += sys.getsizeof(item, 0)
    return [
        Sample((Frame(f"{kind.__module__}.{kind.__qualname__}", "", 0),), (count, size))
        for kind, (count, size) in counts.items()
    ]
