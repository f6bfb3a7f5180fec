"""The engine's door: registration, runs, activation, cancellation, shutdown."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.answers import Answer, Stream
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import (
    AlreadyRegistered,
    AlreadyRun,
    Cancelled,
    Forbidden,
    Unavailable,
    UnknownJob,
)
from dockerapi.engine.job import DiscardingSink, Job
from dockerapi.wire.duplex import Sink
from tests.serving import serve


async def echo(job: Job) -> Answer:
    return list(job.args)


class EngineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine()
        self.engine.activation.activate()
        self.clock = Clock()

    def test_runs_a_handler_with_its_arguments(self) -> None:
        self.engine.register("echo", echo)
        self.assertEqual(self.successResultOf(self.engine.job("echo", "a", "b").run()), ["a", "b"])
        self.assertEqual(self.engine.metrics.jobs["echo"].started, 1)
        self.assertEqual(self.engine.running, ())

    def test_refuses_unknown_names_second_runs_and_second_registrations(self) -> None:
        self.engine.register("echo", echo)
        self.assertRaises(AlreadyRegistered, self.engine.register, "echo", echo)
        error = self.failureResultOf(self.engine.job("nope").run(), UnknownJob).value
        self.assertIn("nope is not supported", error.message)
        job = self.engine.job("echo")
        self.successResultOf(job.run())
        self.failureResultOf(job.run(), AlreadyRun)

    def test_waits_for_activation_unless_early(self) -> None:
        engine = Engine()
        engine.register("echo", echo)
        engine.register("early", echo, early=True)
        self.failureResultOf(engine.job("echo").run(), Unavailable)
        self.successResultOf(engine.job("early").run())
        engine.activation.fail(Failure(RuntimeError("no disk")))
        error = self.failureResultOf(engine.job("echo").run(), Unavailable).value
        self.assertIn("no disk", error.message)

    def test_activation_fires_everyone_once_and_twice_is_harmless(self) -> None:
        engine = Engine()
        early = engine.activation.wait()
        self.assertNoResult(early)
        engine.activation.activate()
        engine.activation.activate()
        self.successResultOf(early)
        self.successResultOf(engine.activation.wait())

    def test_cancelling_gives_the_handler_up(self) -> None:
        waiting: Deferred[None] = Deferred()

        async def wait(job: Job) -> None:
            await waiting

        self.engine.register("wait", wait)
        run = self.engine.job("wait").run()
        run.cancel()
        self.failureResultOf(run, Cancelled)
        self.assertEqual(self.engine.running, ())

    def test_a_detached_handler_runs_on(self) -> None:
        waiting: Deferred[None] = Deferred()
        done: list[bool] = []

        async def act(job: Job) -> None:
            await waiting
            done.append(True)

        self.engine.register("act", act, detached=True)
        run = self.engine.job("act").run()
        run.cancel()
        self.failureResultOf(run, CancelledError)
        self.assertEqual(len(self.engine.running), 1)
        waiting.callback(None)
        self.assertEqual(done, [True])
        self.assertEqual(self.engine.running, ())

    def test_authorize_is_asked_before_the_handler(self) -> None:
        self.engine.register("echo", echo)

        async def refuse(job: Job) -> None:
            raise Forbidden("not you")

        self.engine.authorize = refuse
        self.failureResultOf(self.engine.job("echo").run(), Forbidden)

    def test_replace_wraps_one_operation(self) -> None:
        self.engine.register("echo", echo)

        def shout(inner):  # type: ignore[no-untyped-def]
            async def handler(job: Job) -> Answer:
                return [text.upper() for text in await inner(job)]

            return handler

        self.engine.replace("echo", shout)
        self.assertEqual(self.successResultOf(self.engine.job("echo", "a").run()), ["A"])
        self.assertRaises(UnknownJob, self.engine.replace, "nope", shout)

    def test_a_stream_belongs_to_its_job(self) -> None:
        waiting: Deferred[None] = Deferred()

        async def write(sink: Sink) -> None:
            await waiting

        async def handler(job: Job) -> Answer:
            return Stream(write)

        self.engine.register("stream", handler)
        answer = self.successResultOf(self.engine.job("stream").run())
        self.assertEqual(len(self.engine.running), 1)
        served = serve(answer, DiscardingSink())
        waiting.callback(None)
        self.successResultOf(served)
        self.assertEqual(self.engine.running, ())

    def test_an_abandoned_stream_ends_its_job(self) -> None:
        async def serve(sink: Sink) -> None:
            raise AssertionError("nobody serves this")

        async def handler(job: Job) -> Answer:
            return Stream(serve)

        self.engine.register("stream", handler)
        job = self.engine.job("stream")
        self.successResultOf(job.run())
        self.engine.abandon(job)
        self.assertEqual(self.engine.running, ())


class ShutdownTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.engine = Engine()
        self.engine.activation.activate()
        self.clock = Clock()
        self.waiting: Deferred[None] = Deferred()

        async def wait(job: Job) -> None:
            await self.waiting

        async def serves(job: Job) -> None:
            await Deferred()

        self.wait = wait
        self.serve = serves

    def shutdown(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.engine.shutdown(15.0, self.clock))

    def test_refuses_new_jobs(self) -> None:
        self.engine.register("echo", echo)
        self.successResultOf(self.shutdown())
        self.failureResultOf(self.engine.job("echo").run(), Unavailable)

    def test_waits_for_running_jobs(self) -> None:
        self.engine.register("wait", self.wait)
        run = self.engine.job("wait").run()
        ended = self.shutdown()
        self.clock.advance(14)
        self.assertNoResult(ended)
        self.waiting.callback(None)
        self.successResultOf(run)
        self.successResultOf(ended)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancels_what_does_not_end(self) -> None:
        self.engine.register("wait", self.wait, detached=True)
        run = self.engine.job("wait").run()
        ended = self.shutdown()
        self.clock.advance(15)
        self.successResultOf(ended)
        self.failureResultOf(run, Cancelled)

    def test_ends_followers_at_once_and_ignores_servers(self) -> None:
        self.engine.register("follow", self.wait, follows=True)
        self.engine.register("serve", self.serve, serves=True)
        following = self.engine.job("follow").run()
        serving = self.engine.job("serve").run()
        self.successResultOf(self.shutdown())
        self.failureResultOf(following, Cancelled)
        self.assertNoResult(serving)
