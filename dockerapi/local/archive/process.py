"""The child that reads and writes trees, seen from the server.

Rule: it is started isolated (nothing of the environment, of the user's or of the site's packages),
lives as long as somebody wants what it gives, and each side waits for the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from twisted.internet.defer import Deferred

import dockerapi
from dockerapi.engine.errors import EngineError
from dockerapi.local.archive.statuses import FAILED
from dockerapi.local.host.pidfd import until_readable
from dockerapi.local.host.spawn import Process, memory_file, spawn, written
from dockerapi.wire.duplex import Sink

_PACKAGES = str(Path(dockerapi.__file__).parent.parent)
_START = (
    f"import sys; sys.path.append({_PACKAGES!r}); "
    "from dockerapi.local.archive.child import main; main()"
)
#: How much waits in a pipe, in bytes: what may be had without root's rights too.
PIPE = 1 << 20
#: How much is sent on at once, in bytes: what a socket takes without waiting.
_READ = 1 << 17
#: The longest first line: two paths in hexadecimal digits.
_LINE = 65536


class ChildFailed(EngineError):
    """The child ended with a `status` of `dockerapi.local.archive.statuses`."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Child:
    """A child under way.

    Where nobody holds it any more its output is closed, of which it ends.
    """

    def __init__(self, process: Process, output: int, errors: contextlib.ExitStack, kept: int):
        self._process = process
        self._output = io.FileIO(output, "rb")
        self._errors = errors
        self._kept = kept
        self._ahead = b""
        self.ended: Deferred[int] = Deferred.fromCoroutine(process.wait())

    @classmethod
    async def start(
        cls,
        operation: str,
        arguments: Sequence[str | bytes | os.PathLike[str]],
        *,
        stdin: int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start it; the descriptors stay their caller's."""
        reading, writing = pipe()
        errors = contextlib.ExitStack()
        kept = memory_file(errors, "stderr")
        words = [os.fsdecode(argument) for argument in arguments]
        try:
            process = await spawn(
                [sys.executable, "-I", "-S", "-c", _START, operation, *words],
                stdin=stdin,
                stdout=writing,
                stderr=kept,
                pass_fds=pass_fds,
            )
        except BaseException:
            os.close(reading)
            errors.close()
            raise
        finally:
            os.close(writing)
        return cls(process, reading, errors, kept)

    async def line(self) -> list[str]:
        """Return the words of the line that it begins with; ``x...`` is text in hexadecimals.

        Raises `ChildFailed` where it ends instead.
        """
        while b"\n" not in self._ahead:
            data = await self._read(_LINE)
            if not data or len(self._ahead) > _LINE:
                await self.finish()
                raise ChildFailed(FAILED, "it ended without a word")
            self._ahead += data
        line, _, self._ahead = self._ahead.partition(b"\n")
        words = line.decode("ascii").split(" ")
        return [
            os.fsdecode(bytes.fromhex(word[1:])) if word.startswith("x") else word for word in words
        ]

    async def read(self, limit: int = _READ) -> bytes:
        """Return the next bytes of its output, nothing at its end."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return await self._read(limit)

    async def serve(self, sink: Sink) -> None:
        """Write the rest of its output to `sink`; raises `ChildFailed` where it is not whole."""
        try:
            while data := await self.read():
                await sink.write(data)
            await self.finish()
        finally:
            self.close()

    async def finish(self) -> None:
        """Wait for its end; raise `ChildFailed` for one that is not well."""
        status = await self._process.wait()
        if status:
            text = written(self._kept).decode(errors="replace")
            raise ChildFailed(status, text or ("" if status > 0 else f"killed by signal {-status}"))

    def close(self) -> None:
        """Kill it where it still runs, and let go of everything."""
        self._process.send(signal.SIGKILL)
        self._output.close()
        self._errors.close()

    async def _read(self, limit: int) -> bytes:
        # Each time through the reactor, which has others to serve.
        await until_readable(self._output.fileno())
        return os.read(self._output.fileno(), limit)


def pipe() -> tuple[int, int]:
    """Return the ends of a new pipe, for reading and for writing, that takes much."""
    reading, writing = os.pipe()
    with contextlib.suppress(OSError):
        # Others may have used up what one user may have.
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
    return reading, writing
