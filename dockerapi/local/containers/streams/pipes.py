"""A process' streams where they are pipes of the server's own.

Rule: what is left in the pipes is read before their end is told; each closes at its own end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from zope.interface import implementer

from dockerapi.local.containers.streams.sending import Sending
from dockerapi.wire.duplex import StreamAborted

#: How much is read as one piece (dockerd's frames are as long), and how many in one turn.
_PIECE, _BURST = 32768, 8


class PipeStreams:
    """The pipes of one process; reads from the start unless paused."""

    def __init__(
        self,
        outputs: Mapping[int, int],
        stdin: int | None,
        reactor: IReactorFDSet,
        on_output: Callable[[list[tuple[int, bytes]]], None],
        on_end: Callable[[], None],
    ) -> None:
        """Take over reading ends by their stream (1 or 2), and the writing end of the input.

        None of them blocks. `on_output` gets what came of one stream in one turn; `on_end` is
        called once, when all outputs have ended.
        """
        self._on_output = on_output
        self._on_end = on_end
        self._stdin = None if stdin is None else _Writer(stdin, reactor)
        self._readers = {
            _Reader(stream, descriptor, reactor, on_output, self._ended)
            for stream, descriptor in outputs.items()
        }

    def pause(self) -> None:
        """Stop reading; soon the process stops at its next write."""
        for reader in self._readers:
            reader.pause()

    def resume(self) -> None:
        """Read on."""
        for reader in self._readers:
            reader.resume()

    async def send(self, data: bytes) -> None:
        """Send input whole; raises `StreamAborted` where nobody takes it any more."""
        if self._stdin is None:
            raise StreamAborted("there is no input")
        await self._stdin.sending.send(data)

    def end_input(self) -> None:
        """Close the input."""
        if self._stdin is not None:
            self._stdin.close()

    def read(self) -> None:
        """Pass on output that has come, as much as a pipe holds, unless reading is paused."""
        # One that ends is taken out, and whoever gets the output may pause the others.
        for reader in tuple(self._readers):
            reader.doRead()

    def close(self) -> None:
        """Close all without a word to `on_end`."""
        readers, self._readers = self._readers, set()
        for reader in readers:
            reader.close()
        self.end_input()

    def _ended(self, reader: _Reader) -> None:
        self._readers.discard(reader)
        if not self._readers:
            self.end_input()
            self._on_end()


@implementer(IReadDescriptor)
class _Reader:
    """One output."""

    def __init__(
        self,
        stream: int,
        descriptor: int,
        reactor: IReactorFDSet,
        on_output: Callable[[list[tuple[int, bytes]]], None],
        on_end: Callable[[_Reader], None],
    ) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._reactor = reactor
        self._on_output = on_output
        self._on_end = on_end
        self._paused = False
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "output"

    def doRead(self) -> None:
        for _ in range(_BURST):
            # Whoever gets it may have had enough, or have left.
            if self._paused or self._descriptor < 0:
                return
            try:
                data = os.read(self._descriptor, _PIECE)
            except BlockingIOError:
                return
            if not data:
                self._end()
                return
            self._on_output([(self._stream, data)])

    def connectionLost(self, reason: object) -> None:
        # The reactor's word for the end of a pipe without anything left to read.
        self._end()

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._reactor.removeReader(self)

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self._reactor.addReader(self)

    def close(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1

    def _end(self) -> None:
        if self._descriptor >= 0:
            self.close()
            self._on_end(self)


@implementer(IWriteDescriptor)
class _Writer:
    """The input."""

    def __init__(self, descriptor: int, reactor: IReactorFDSet) -> None:
        self._descriptor = descriptor
        self.sending = Sending(self, lambda data: os.write(self._descriptor, data), reactor)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "input"

    def doWrite(self) -> None:
        self.sending.wake()

    def connectionLost(self, reason: object) -> None:
        # The reactor's word for a pipe that nobody reads any more.
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            self.sending.close(self._shut)

    def _shut(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
