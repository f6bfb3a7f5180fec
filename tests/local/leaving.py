"""Clients that leave while work is under way in a thread, at every such place of an operation."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from threading import Event
from types import ModuleType
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from dockerapi.engine.errors import Cancelled
from dockerapi.local.host.threads import in_thread


async def leave(
    case: TestCase,
    module: ModuleType,
    number: int,
    operation: Callable[[], Awaitable[Any]],
    meanwhile: Callable[[], None] = lambda: None,
) -> bool:
    """Cancel an operation during its piece of work with this number; return when both have ended.

    Work is what `module` does by `in_thread`. It goes on after `meanwhile`, which is called when
    the client has left. Return False where there was no such piece.
    """
    count, begun, go_on, ended = 0, Event(), Event(), Event()

    def slow(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        begun.set()
        try:
            go_on.wait(10)
            return fn(*args, **kwargs)
        finally:
            ended.set()

    def instead(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        nonlocal count
        count += 1
        if count == number:
            return in_thread(slow, fn, *args, **kwargs)
        return in_thread(fn, *args, **kwargs)

    async def run() -> None:
        await operation()

    patched = case.patch(module, "in_thread", instead)
    serving = Deferred.fromCoroutine(run())
    results: list[Any] = []
    serving.addBoth(results.append)
    while not begun.is_set() and not results:
        await deferLater(reactor, 0.002)
    if begun.is_set():
        serving.cancel()
        meanwhile()
        go_on.set()
        while not (results and ended.is_set()):
            await deferLater(reactor, 0.002)
        # Work after the answer, such as an unmount, is not what the client is told of.
        if isinstance(results[0], Failure):
            case.assertTrue(results[0].check(CancelledError, Cancelled), results)
    patched.restore()
    return begun.is_set()


def descriptors() -> list[str]:
    """Return what this process has open, but for what the reactor and threads come and go with."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return sorted(found)
