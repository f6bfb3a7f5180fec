"""Work in threads: for calls that let go of the interpreter's lock (system calls, hashing).

Rule: one bounded pool of our own, so that slow disks never starve the reactor's name lookups.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

P = ParamSpec("P")
T = TypeVar("T")

#: The most threads; they are made when first needed, and joined when the process ends.
LIMIT = 16

_pool = ThreadPoolExecutor(max_workers=LIMIT, thread_name_prefix="dockerapi")


def in_thread(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
    """Call `fn` in a thread of the pool; the Deferred fires in the reactor's with its result.

    Cancelling the Deferred gives up work that has not begun; what has begun runs to its end, and
    its result is forgotten.
    """
    return submit(_pool, fn, *args, **kwargs)


def submit(
    pool: ThreadPoolExecutor, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Deferred[T]:
    """Call `fn` in a thread of `pool`, else as `in_thread`; for work that needs its own thread."""
    from twisted.internet import reactor

    call_from_thread = cast(IReactorFromThreads, reactor).callFromThread
    future: Future[T] = pool.submit(fn, *args, **kwargs)

    def give_up(_: Deferred[T]) -> None:
        future.cancel()

    deferred: Deferred[T] = Deferred(give_up)

    def settle() -> None:
        if future.cancelled() or deferred.called:
            return
        error = future.exception()
        if error is None:
            deferred.callback(future.result())
        else:
            deferred.errback(error)

    future.add_done_callback(lambda _: call_from_thread(settle))
    return deferred
