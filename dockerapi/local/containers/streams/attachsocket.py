"""The connection to conmon's attach socket: packets out of a container, bytes into it.

Source: conmon 2.1, `conn_sock.c`: a SEQPACKET socket; the first byte of a packet names its stream.
Rule: one connection for each process, kept and shared: any that closes may end the input.
"""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from zope.interface import implementer

from dockerapi.local.containers.streams.sending import Sending

#: How much conmon puts into a packet, after the byte that names its stream.
_PAYLOAD = 8192
#: How much conmon takes as one packet of input without cutting it.
_INPUT = 32768
#: How many packets are read in one turn of the reactor.
_BURST = 64
#: How much of one stream is passed on as one piece (dockerd's frames are as long).
_PIECE = 32768
#: Filled and emptied within one `doRead`, so all connections share them.
_name = bytearray(1)
_room = memoryview(mmap.mmap(-1, _BURST * _PAYLOAD))


@implementer(IReadDescriptor, IWriteDescriptor)
class AttachSocket:
    """One connection; reads from the start unless paused."""

    def __init__(
        self,
        path: Path,
        reactor: IReactorFDSet,
        on_output: Callable[[list[tuple[int, bytes]]], None],
        on_end: Callable[[], None],
    ) -> None:
        """Connect to the socket at `path`; raises OSError.

        `on_output` gets what came in one turn: streams (1 or 2) with their bytes, in order;
        `on_end` is called once.
        """
        self._reactor = reactor
        self._on_output = on_output
        self._on_end = on_end
        self._paused = False
        self._closed = False
        self._socket = _connect(path)
        self._sending = Sending(self, lambda data: self._socket.send(data[:_INPUT]), reactor)
        reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return -1 if self._closed else self._socket.fileno()

    def logPrefix(self) -> str:
        """Return the name for the reactor's log."""
        return "attach"

    def doRead(self) -> None:
        """Read what has come, up to a burst."""
        pieces: list[tuple[int, bytes]] = []
        stream = start = end = 0
        ended = False
        for _ in range(_BURST):
            try:
                size = self._socket.recvmsg_into((_name, _room[end : end + _PAYLOAD]))[0]
            except BlockingIOError:
                break
            except OSError:
                size = 0
            if not size:
                ended = True
                break
            # conmon counts from 2: 1 is its own standard input.
            if size == 1 or _name[0] not in (2, 3):
                continue
            if stream != _name[0] or end - start >= _PIECE:
                if end > start:
                    pieces.append((stream - 1, bytes(_room[start:end])))
                stream, start = _name[0], end
            end += size - 1
        if end > start:
            pieces.append((stream - 1, bytes(_room[start:end])))
        if pieces:
            self._on_output(pieces)
        if ended:
            self._end()

    def doWrite(self) -> None:
        """Wake the writer."""
        self._sending.wake()

    def connectionLost(self, reason: object) -> None:
        """Take the reactor's word that the connection ended."""
        self._end()

    def pause(self) -> None:
        """Stop reading; soon the process inside stops at its next write."""
        if not self._paused and not self._closed:
            self._paused = True
            self._reactor.removeReader(self)

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self._closed:
            self._paused = False
            self._reactor.addReader(self)

    async def send(self, data: bytes) -> None:
        """Send input whole; raises `StreamAborted` where nobody takes it any more."""
        await self._sending.send(data)

    def end_input(self) -> None:
        """Say that no more input comes; conmon closes it where it was told to."""
        if not self._closed:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def read(self) -> None:
        """Pass on output that has come, as much as the socket holds, unless reading is paused."""
        if not self._paused and not self._closed:
            self.doRead()

    def close(self) -> None:
        """Close the connection without a word to `on_end`."""
        if not self._closed:
            self._reactor.removeReader(self)
            self._sending.close(self._shut)

    def _shut(self) -> None:
        self._closed = True
        self._socket.close()

    def _end(self) -> None:
        if not self._closed:
            self.close()
            self._on_end()


def _connect(path: Path) -> socket.socket:
    """Connect through a descriptor of the directory: the path may be longer than an address."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
    except BaseException:
        connection.close()
        raise
    return connection
