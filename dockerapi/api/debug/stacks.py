"""Stacks of this process: of its threads, and of the coroutines that wait.

Python has no goroutines; what comes nearest are the coroutines and Deferreds in flight.

Rule: it only looks, and no stack is followed without end.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from types import CoroutineType, FrameType
from typing import Any

from dockerapi.wire.pprof import Frame, Profile, Sample

#: Deeper stacks are cut, as pprof's own are.
DEPTH = 128


def frame_stack(frame: FrameType | None) -> tuple[Frame, ...]:
    """Return the stack that ends in `frame`, innermost first."""
    stack: list[Frame] = []
    while frame is not None and len(stack) < DEPTH:
        stack.append(_frame(frame))
        frame = frame.f_back
    return tuple(stack)


def threads() -> Profile:
    """Return the stacks of all threads (`threadcreate`)."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    stacks = [
        (*frame_stack(frame), Frame(f"thread {names.get(number, number)}", "", 0))
        for number, frame in sys._current_frames().items()
    ]
    return _counted("threadcreate", stacks)


def tasks() -> Profile:
    """Return the stacks of coroutines and Deferreds in flight, and of threads (`goroutine`)."""
    coroutines = [item for item in gc.get_objects() if isinstance(item, CoroutineType)]
    inner = {id(coroutine.cr_await) for coroutine in coroutines}
    stacks = [
        _coroutine_stack(coroutine)
        for coroutine in coroutines
        if coroutine.cr_frame is not None and id(coroutine) not in inner
    ]
    stacks += [frame_stack(frame) for frame in sys._current_frames().values()]
    return _counted("goroutine", [stack for stack in stacks if stack])


def _coroutine_stack(coroutine: CoroutineType[Any, Any, Any]) -> tuple[Frame, ...]:
    """Return where `coroutine` waits, through all that it awaits, innermost first."""
    stack: list[Frame] = []
    waiting: Any = coroutine
    while isinstance(waiting, CoroutineType) and len(stack) < DEPTH:
        if waiting.cr_frame is not None:
            stack.append(_frame(waiting.cr_frame))
        waiting = waiting.cr_await
    if waiting is not None:
        # What a Deferred gives to `await` is a generator or an iterator of its own.
        stack.append(Frame(f"waits for {type(waiting).__name__}", "", 0))
    return tuple(reversed(stack))


def _frame(frame: FrameType) -> Frame:
    code = frame.f_code
    return Frame(code.co_qualname, code.co_filename, frame.f_lineno or 0)


def _counted(name: str, stacks: Iterable[tuple[Frame, ...]]) -> Profile:
    counts = Counter(stacks)
    samples = [Sample(stack, (count,)) for stack, count in counts.items()]
    return Profile([(name, "count")], samples, period=(name, "count", 1))
