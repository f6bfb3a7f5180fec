"""Work in threads: for calls that let go of the interpreter's lock (system calls, hashing).

Rule: one bounded pool of our own, so that slow disks never starve the reactor's name lookups.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

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


async def finished(work: Deferred[T]) -> T:
    """Return the result of `work`, also to someone who is cancelled: that is raised only then.

    For work that uses what its caller holds, such as descriptors.
    """
    waiter: Deferred[None] = Deferred()
    results: list[T | Failure] = []

    def tell(result: T | Failure) -> None:
        results.append(result)
        if not waiter.called:
            waiter.callback(None)

    work.addBoth(tell)
    cancelled: CancelledError | None = None
    while not results:
        try:
            await waiter
        except CancelledError as error:
            cancelled = error
            waiter = Deferred()
    if cancelled is not None:
        raise cancelled
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


def submit(
    pool: ThreadPoolExecutor, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> Deferred[T]:
    """Call `fn` in a thread of `pool`, else as `in_thread`; for work that needs its own thread."""
    from twisted.internet import reactor

    call_from_thread = cast(IReactorFromThreads, reactor).callFromThread
    future: Future[T] = pool.submit(fn, *args, **kwargs)
    # Weakly, for what is in a circle keeps its result, perhaps a large one, until a collection.
    reference = weakref.ref(future)

    def give_up(_: Deferred[T]) -> None:
        if (pending := reference()) is not None:
            pending.cancel()

    deferred: Deferred[T] = Deferred(give_up)

    def settle(done: Future[T]) -> None:
        if done.cancelled() or deferred.called:
            return
        error = done.exception()
        if error is None:
            deferred.callback(done.result())
        else:
            deferred.errback(error)

    future.add_done_callback(lambda done: call_from_thread(settle, done))
    return deferred
