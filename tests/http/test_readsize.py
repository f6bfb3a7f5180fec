"""How much is read at once: much of large bodies, and of nothing else."""

from __future__ import annotations

import socket
from typing import cast

from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.http.readsize import size_reads


class ReadingTests(SynchronousTestCase):
    """A transport, before and after bodies."""

    def test_much_of_what_is_large(self) -> None:
        from twisted.internet import reactor

        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        transport = Connection(ours, Protocol(), cast(IReactorFDSet, reactor))
        usual = transport.bufferSize
        for length in (None, 1 << 30):
            size_reads(transport, length)
            self.assertGreater(transport.bufferSize, usual)
            size_reads(transport, 0)
            self.assertEqual(transport.bufferSize, usual)
        size_reads(transport, 100)
        self.assertEqual(transport.bufferSize, usual)
