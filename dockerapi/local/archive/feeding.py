"""What goes into a child's input, on the way decompressed where the child cannot do that itself.

Rule: each side waits for the other, and nothing outlives the one who feeds.
"""

from __future__ import annotations

import os
import signal

from dockerapi.engine.errors import EngineError
from dockerapi.local.archive.process import PIPE, Child, ChildFailed, pipe
from dockerapi.local.archive.statuses import FAILED
from dockerapi.local.archive.zstd import LENGTH, Unsupported, decompressor, is_zstd
from dockerapi.local.host.flow import Flow
from dockerapi.local.host.pipes import until_writable
from dockerapi.local.host.spawn import Process, spawn
from dockerapi.wire.duplex import Source


class Feed:
    """The pipe into a child's input.

    :ivar reading: the child's end; `start` the child, then call `opened`.
    """

    def __init__(self) -> None:
        self.reading, self._writing = pipe()
        os.set_blocking(self._writing, False)
        self._decompressor: Process | None = None

    def opened(self) -> None:
        """Close the child's end here. Harmless when done."""
        if self.reading >= 0:
            os.close(self.reading)
            self.reading = -1

    async def give(self, source: Source, child: Child) -> None:
        """Give the child all that `source` has, or what it wants of it, and wait for its end.

        Raises `StreamAborted` where the source broke off, and `ChildFailed`.
        """
        try:
            await self._pump(source)
        except BrokenPipeError:
            source.abort("the archive is not wanted")
        finally:
            self._end()
        try:
            await child.finish()
        except BaseException:
            # Whoever gives up wants no more written: little input may become much.
            self.close()
            raise
        if self._decompressor is not None and await self._decompressor.wait():
            raise ChildFailed(FAILED, "the archive is damaged, as zstd finds")

    def close(self) -> None:
        """Say that nothing follows, and end what is under way. Harmless when done."""
        self.opened()
        self._end()
        if self._decompressor is not None:
            self._decompressor.send(signal.SIGKILL)

    async def _pump(self, source: Source) -> None:
        start = await _beginning(source)
        if is_zstd(start):
            await self._decompress()
        await self._write(start)
        with Flow() as flow:
            while data := await source.read(PIPE):
                flow.count(len(data))
                await self._write(data)

    async def _decompress(self) -> None:
        """Put the decompressor between this and the child."""
        try:
            command = decompressor()
        except Unsupported as unsupported:
            raise EngineError(str(unsupported)) from unsupported
        reading, writing = pipe()
        os.set_blocking(writing, False)
        # Not for the decompressor, which shares it.
        os.set_blocking(self._writing, True)
        try:
            self._decompressor = await spawn(command, stdin=reading, stdout=self._writing)
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        os.close(self._writing)
        self._writing = writing

    async def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._writing, view) :]
            except BlockingIOError:
                await until_writable(self._writing)

    def _end(self) -> None:
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1


async def _beginning(source: Source) -> bytes:
    """Return as many bytes as tell what comes, fewer only where that is all."""
    start = b""
    while len(start) < LENGTH and (data := await source.read(PIPE)):
        start += data
    return start
