"""Pipes: opening them, reading short messages, and waiting for room, in the reactor.

Rule: what is read is bounded; descriptors stay their caller's.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import IO, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

#: The longest line that is read, in bytes.
LINE_LIMIT = 65536


def open_pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Return a pipe's reading and writing end, closed with `stack` where they are not before."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    return (
        stack.enter_context(open(reading, "rb", buffering=0)),
        stack.enter_context(open(writing, "wb", buffering=0)),
    )


def read_line(descriptor: int) -> Deferred[bytes]:
    """Read a pipe up to the first end of line, or its end, in the reactor.

    The descriptor stays its caller's, who may close it once the Deferred has fired.
    """
    return _LineReader(descriptor).line


@implementer(IReadDescriptor)
class _LineReader:
    def __init__(self, descriptor: int) -> None:
        from twisted.internet import reactor

        self._reactor = cast(IReactorFDSet, reactor)
        self._descriptor = descriptor
        self._read = b""
        self.line: Deferred[bytes] = Deferred(lambda _: self._reactor.removeReader(self))
        self._reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "conmon"

    def doRead(self) -> None:
        chunk = os.read(self._descriptor, LINE_LIMIT)
        self._read += chunk
        if not chunk or b"\n" in chunk or len(self._read) > LINE_LIMIT:
            self._finish()

    def connectionLost(self, reason: Failure) -> None:
        # The reactor's word for the end of a pipe without anything left to read.
        self._finish()

    def _finish(self) -> None:
        self._reactor.removeReader(self)
        if not self.line.called:
            self.line.callback(self._read.partition(b"\n")[0])


def until_writable(descriptor: int) -> Deferred[None]:
    """Return a Deferred that fires when `descriptor` takes more, or its other end is closed.

    Nothing is written; the descriptor stays its caller's. Cancelling stops the waiting.
    """
    return _Writable(descriptor).ready


@implementer(IWriteDescriptor)
class _Writable:
    def __init__(self, descriptor: int) -> None:
        from twisted.internet import reactor

        self._reactor = cast(IReactorFDSet, reactor)
        self._descriptor = descriptor
        self.ready: Deferred[None] = Deferred(lambda _: self._reactor.removeWriter(self))
        self._reactor.addWriter(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "pipe"

    def doWrite(self) -> None:
        self._fire()

    def connectionLost(self, reason: Failure) -> None:
        # The reactor's word for a pipe that nobody reads any more: writing says so.
        self._fire()

    def _fire(self) -> None:
        self._reactor.removeWriter(self)
        if not self.ready.called:
            self.ready.callback(None)
