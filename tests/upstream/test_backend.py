"""The forwarding backend as the engine sees it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.engine import Engine
from dockerapi.model.operations import OPERATIONS
from dockerapi.upstream.backend import UpstreamBackend
from tests.upstream.scripted import (
    reactor,
)


class RegistrationTests(SynchronousTestCase):
    def test_every_operation_has_a_handler(self) -> None:
        engine = Engine(logging=False)
        UpstreamBackend("unix:///nowhere", reactor).register(engine)
        self.assertEqual(len(OPERATIONS), len(set(OPERATIONS)))
        self.assertTrue(all(engine.handles(name) for name in OPERATIONS))
