"""The daemon: its start and end in this process, and as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

import dockerapi.daemon
from dockerapi.daemon import REASON_TOLD, Daemon, part_of
from dockerapi.engine.answers import Answer
from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError
from dockerapi.engine.job import Job
from dockerapi.server.hosts import BadHost
from dockerapi.server.limits import raise_descriptor_limit
from dockerapi.server.systemd import Init
from dockerapi.settings import Settings
from tests.logs import logged
from tests.server.certificates import Authority
from tests.unixhttp import UnixConnection


def get(path: str, target: str) -> tuple[int, bytes]:
    """Ask the server on the unix socket `path`; blocks."""
    connection = UnixConnection(path)
    try:
        connection.request("GET", target)
        response: HTTPResponse = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class _EngineServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


class HangingEngine:
    """An engine on the unix socket `path` that answers ping and version, and nothing else.

    :ivar asked: set when something else was asked for.
    """

    def __init__(self, path: str) -> None:
        self.asked = threading.Event()
        self._done = threading.Event()
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(("/_ping", "/version")):
                    self.send_response(200)
                    self.send_header("Api-Version", "1.41")
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"OK" if self.path.endswith("g") else b"{}")
                else:
                    engine.asked.set()
                    engine._done.wait(60)

            do_HEAD = do_GET

            def address_string(self) -> str:
                return "unix"

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _EngineServer(path, Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._done.set()
        self._server.shutdown()
        self._server.server_close()


class SlowBackend:
    """Starts when told to; answers ping, and waits in `SystemInfo`."""

    def __init__(self) -> None:
        self.started: Deferred[None] = Deferred()
        self.waiting: Deferred[None] = Deferred()
        self.stopped = False
        self.stops: list[str] = []

    def register(self, engine: Engine) -> None:
        engine.register("SystemPing", self.ping)
        engine.register("SystemInfo", self.wait)
        engine.register("ContainerList", self.containers)
        engine.register("ContainerStop", self.stop_container)

    async def start(self) -> None:
        await self.started

    async def stop(self) -> None:
        self.stopped = True

    async def ping(self, job: Job) -> Answer:
        return None

    async def wait(self, job: Job) -> Answer:
        await self.waiting
        return {"Name": "waited"}

    async def containers(self, job: Job) -> Answer:
        return [{"Id": "a"}, {"Id": "b"}]

    async def stop_container(self, job: Job) -> Answer:
        self.stops += job.args
        if job.args == ("a",):
            raise EngineError("it does not want to")
        return None


class DaemonTests(TestCase):
    def setUp(self) -> None:
        raise_descriptor_limit()
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-daemon-")
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "d.sock")
        self.backend = SlowBackend()

    def start(self, **settings: object) -> Daemon:
        hosts = (f"unix://{self.path}",)
        self.daemon = Daemon(
            Settings(hosts=hosts, **settings),  # type: ignore[arg-type]
            backend=self.backend,
        )
        self.daemon.startService()
        self.addCleanup(self.daemon.stopService)
        return self.daemon

    def ask(self, target: str) -> Deferred[tuple[int, bytes]]:
        return deferToThread(get, self.path, target)

    async def pause(self, seconds: float = 0.1) -> None:
        await deferLater(self.daemon.reactor, seconds)

    async def test_early_clients_wait_for_the_engine(self) -> None:
        self.start()
        answers = [self.ask("/_ping") for _ in range(5)]
        await self.pause()
        self.assertFalse(any(answer.called for answer in answers))
        self.backend.started.callback(None)
        self.assertEqual([await answer for answer in answers], [(200, b"OK")] * 5)

    async def test_a_thousand_early_clients_are_all_served(self) -> None:
        self.start()
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(1000)]
            for client in clients:
                client.connect(self.path)
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
                client.settimeout(60)
            await self.pause()
            self.assertNotIn("SystemPing", self.daemon.engine.metrics.jobs)
            self.backend.started.callback(None)
            heads = await deferToThread(lambda: [client.recv(15) for client in clients])
        self.assertEqual(heads, [b"HTTP/1.1 200 OK"] * 1000)

    async def test_early_clients_that_left_are_not_run(self) -> None:
        daemon = self.start()
        self.backend.started.callback(None)
        await self.pause(0.2)
        daemon.server.gate.close()
        connections = [UnixConnection(self.path) for _ in range(3)]
        daemon.server.gate.ports[0].resumeProducing()  # type: ignore[attr-defined]
        for connection in connections:
            connection.request("GET", "/_ping")
        await self.pause()
        self.assertEqual(daemon.server.gate.held, 3)
        connections[0].close()
        await self.pause()
        daemon.server.gate.open()
        for connection in connections[1:]:
            response = await deferToThread(connection.getresponse)
            self.assertEqual(response.status, 200)
            connection.close()
        self.assertEqual(daemon.engine.metrics.jobs["SystemPing"].started, 2)

    async def test_without_buffering_they_get_503(self) -> None:
        self.start(buffer_requests=False)
        status, body = await self.ask("/info")
        self.assertEqual(status, 503)
        self.assertIn(b"is starting", body)

    async def test_a_failed_start_is_told_and_then_ends(self) -> None:
        self.patch(dockerapi.daemon, "REASON_TOLD", 0.5)
        daemon = self.start()
        early = self.ask("/info")
        self.backend.started.errback(EngineError("no disk"))
        for answer in (early, self.ask("/info")):
            status, body = await answer
            self.assertEqual(status, 503)
            self.assertIn(b"no disk", body)
        self.assertFalse(daemon.ended.called)
        since = time.monotonic()
        await self.assertFailure(daemon.ended, EngineError)
        self.assertGreater(time.monotonic() - since, 0.2)

    async def test_the_end_waits_for_what_runs(self) -> None:
        daemon = self.start()
        self.backend.started.callback(None)
        running = self.ask("/info")
        await self.pause(0.2)
        ending = daemon.stopService()
        await self.pause()
        self.assertFalse(os.path.exists(self.path))
        self.assertFalse(ending.called)
        self.backend.waiting.callback(None)
        status, body = await running
        self.assertEqual(status, 200)
        self.assertIn(b"waited", body)
        await ending
        self.assertTrue(self.backend.stopped)

    async def test_the_end_cancels_what_does_not_end(self) -> None:
        daemon = self.start(shutdown_timeout=0.1)
        self.backend.started.callback(None)
        running = self.ask("/info")
        await self.pause(0.2)
        await daemon.stopService()
        status, body = await running
        self.assertEqual((status, body), (503, b'{"message":"the job SystemInfo was given up"}\n'))

    async def test_the_end_closes_kept_connections(self) -> None:
        daemon = self.start()
        self.backend.started.callback(None)
        connection = UnixConnection(self.path)
        self.addCleanup(connection.close)

        def ping() -> None:
            connection.request("GET", "/_ping")
            connection.getresponse().read()

        await deferToThread(ping)
        kept = connection.sock
        await daemon.stopService()
        self.assertEqual(await deferToThread(kept.recv, 1), b"")

    async def test_stops_containers_when_asked_to(self) -> None:
        daemon = self.start(stop_containers=True)
        self.backend.started.callback(None)
        await self.pause()
        await daemon.stopService()
        self.assertEqual(self.backend.stops, ["a", "b"])

    async def test_a_backend_that_stops_containers_is_asked_to(self) -> None:
        daemon = self.start(stop_containers=True)

        async def stop_all() -> None:
            self.backend.stops.append("all")

        self.backend.stop_all = stop_all  # type: ignore[attr-defined]
        self.backend.started.callback(None)
        await self.pause()
        await daemon.stopService()
        self.assertEqual(self.backend.stops, ["all"])

    async def test_the_end_before_the_start(self) -> None:
        daemon = self.start()
        early = self.ask("/_ping")
        await self.pause(0.2)
        await daemon.stopService()
        self.assertFalse(os.path.exists(self.path))
        await self.assertFailure(early, OSError)

    async def test_an_engine_that_fails_to_stop_holds_nothing_up(self) -> None:
        daemon = self.start()

        async def stop() -> None:
            raise ValueError("a bug")

        self.backend.stop = stop  # type: ignore[method-assign]
        await daemon.stopService()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_reload_tells_init_only_when_it_waits_no_longer(self) -> None:
        daemon, told = self.start(), []

        class Recorder(Init):
            def _send(self, *lines: str) -> None:
                told.append(lines[0])

        daemon._init = Recorder()
        daemon.reload()
        self.assertEqual(told, [])
        self.backend.started.callback(None)
        told.clear()
        daemon.reload()
        self.assertEqual(told, ["RELOADING=1", "READY=1"])

    def test_options_without_effect_are_named(self) -> None:
        seen = logged(self)
        self.start(bip="10.0.0.1/24")
        named = [event["name"] for event in seen if "no effect" in event["log_format"]]
        self.assertEqual(named, ["bip"])

    def test_a_part_takes_only_what_there_is(self) -> None:
        class Part(msgspec.Struct, frozen=True):
            data_root: str
            more: int

        settings = Settings(data_root="/d")
        self.assertEqual(part_of(Part, settings, more=1), Part("/d", 1))
        self.assertRaises(TypeError, part_of, Part, settings)

    def test_a_bad_host_is_raised_and_leaves_nothing(self) -> None:
        hosts = (f"unix://{self.path}", "tcp://127.0.0.1:x")
        daemon = Daemon(Settings(hosts=hosts), backend=self.backend)
        error = self.assertRaises(BadHost, daemon.startService)
        self.assertIn("tcp://127.0.0.1:x", error.message)
        self.assertFalse(os.path.exists(self.path))


class ProcessTests(SynchronousTestCase):
    """The command, as its users run it."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-process-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = str(self.directory / "d.sock")
        self.command = [sys.executable, "-m", "dockerapi"]
        twistd = str(Path(sys.executable).with_name("twistd"))
        self.twistd = [twistd, "-n", "--pidfile=", "dockerapi"]
        # An engine that is not there keeps the gate closed, and needs nothing of this machine.
        self.absent = ["--engine", f"unix://{self.directory}/absent.sock"]

    def spawn(self, *arguments: str, **more: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            **more,  # type: ignore[call-overload]
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def await_line(self, process: subprocess.Popen[str], words: str) -> None:
        for line in process.stdout:
            if words in line:
                return
        raise AssertionError(f"it ended without {words!r}")

    def serve(self, *arguments: str) -> subprocess.Popen[str]:
        hosts = ["--host", f"unix://{self.path}"]
        process = self.spawn(*self.command, *hosts, *self.absent, *arguments)
        self.await_line(process, f"Listening for HTTP on unix ({self.path})")
        self.await_line(process, "waiting for the engine")
        return process

    def test_sigterm_and_sigint_end_it(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.serve()
            process.send_signal(number)
            self.assertEqual(process.wait(60), 0)
            self.assertFalse(os.path.exists(self.path))

    def test_twistd_runs_it(self) -> None:
        self.command = self.twistd
        process = self.serve()
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def test_twistd_says_what_is_wrong(self) -> None:
        hosts = ["--host", f"unix://{self.path}", "--host", "tcp://127.0.0.1:x"]
        process = self.spawn(*self.twistd, *self.absent, *hosts)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertEqual(output.count("cannot listen on tcp://127.0.0.1:x"), 1)
        self.assertNotIn("Traceback", output)
        self.assertFalse(os.path.exists(self.path))

    def test_a_second_signal_ends_it_at_once(self) -> None:
        process = self.serve("--shutdown-timeout", "60")
        upstream = HangingEngine(str(self.directory / "absent.sock"))
        self.addCleanup(upstream.close)
        self.assertEqual(get(self.path, "/_ping")[0], 200)
        client = UnixConnection(self.path)
        self.addCleanup(client.close)
        client.request("GET", "/info")
        self.assertTrue(upstream.asked.wait(60))
        process.terminate()
        self.await_line(process, "shutting down")
        self.assertRaises(subprocess.TimeoutExpired, process.wait, 0.5)
        process.terminate()
        self.assertEqual(process.wait(60), 128 + signal.SIGTERM)
        self.assertFalse(os.path.exists(self.path))

    def test_idle_exit_of_a_server_that_nobody_would_start_again(self) -> None:
        hosts = ["--host", f"unix://{self.path}", "--idle-exit", "0.1"]
        process = self.spawn(*self.command, *self.absent, *hosts)
        self.await_line(process, "--idle-exit has no effect")
        self.assertRaises(subprocess.TimeoutExpired, process.wait, 0.5)
        self.assertIsNone(process.poll())

    def test_sighup_keeps_it(self) -> None:
        process = self.serve()
        process.send_signal(signal.SIGHUP)
        self.await_line(process, "reloaded the certificates")
        self.assertIsNone(process.poll())

    def test_sighup_says_what_is_wrong(self) -> None:
        authority = Authority(self.directory)
        certificate, key = authority.issue("server")
        files = ["--tlscert", str(certificate), "--tlskey", str(key)]
        process = self.serve("--host", "ssl://127.0.0.1:0", *files)
        certificate.unlink()
        process.send_signal(signal.SIGHUP)
        self.await_line(process, f"kept the old certificates: open {certificate}: No such file")
        self.assertIsNone(process.poll())

    def test_bad_hosts_are_one_line_and_status_1(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            used = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            for host in ("tcp://127.0.0.1:x", used, "fd://", "xyz://", "ssl://127.0.0.1:0"):
                process = self.spawn(
                    *self.command,
                    *self.absent,
                    *["--host", f"unix://{self.path}", "--host", host],
                    *["--tlskey", "/no/key.pem"],
                )
                output, _ = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 1)
                lines = [line for line in output.splitlines() if "cannot listen on" in line]
                self.assertEqual(len(lines), 1, output)
                self.assertIn(host, lines[0])
                self.assertNotIn("Traceback", output)
                self.assertFalse(os.path.exists(self.path))

    def test_bad_options_are_one_line_and_status_1(self) -> None:
        process = self.spawn(*self.command, "--backlog", "many")
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertIn("--backlog", output.splitlines()[0])

    def test_no_host_without_its_scheme(self) -> None:
        process = self.spawn(*self.command, *self.absent, "--host", self.path)
        output, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1)
        self.assertIn("usage: serveapi PROTO://ADDR [PROTO://ADDR ...]", output)

    def test_a_failed_start_has_status_1(self) -> None:
        file = self.directory / "file"
        file.touch()
        roots = ["--data-root", f"{file}/data", "--exec-root", f"{file}/exec"]
        started = time.monotonic()
        processes = {
            path: self.spawn(*command, "--host", f"unix://{path}", *roots)
            for path, command in ((self.path, self.command), (self.path + "2", self.twistd))
        }
        for path, process in processes.items():
            self.await_line(process, "Listening for HTTP")
            status, body = get(path, "/info")
            self.assertEqual(status, 503)
            self.assertIn(b"did not start", body)
        for path, process in processes.items():
            self.assertEqual(process.wait(60), 1)
            self.assertFalse(os.path.exists(path))
        self.assertGreater(time.monotonic() - started, REASON_TOLD)

    def test_systemd_activates_it(self) -> None:
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.bind(str(self.directory / "notify"))
        notify.settimeout(60)
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.directory / "notify")}
        passed = ("NOTIFY_SOCKET", "PYTHONPATH", "HOME")
        process = self.spawn(
            "systemd-socket-activate",
            *[f"--listen={self.path}", "--fdname=api"],
            *[f"--setenv={name}" for name in passed if name in environment],
            *self.command,
            *["--host", "fd://api", *self.absent],
            env=environment,
        )
        self.await_line(process, "Listening on")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            self.await_line(process, "Listening for HTTP on fd (api)")
            process.terminate()
            self.assertIn(b"STOPPING=1", notify.recv(999))
        self.assertEqual(process.wait(60), 0)
        self.assertTrue(os.path.exists(self.path))

    def test_tls_with_client_certificates(self) -> None:
        authority = Authority(self.directory)
        files = authority.issue("server")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        upstream = HangingEngine(str(self.directory / "absent.sock"))
        self.addCleanup(upstream.close)
        process = self.spawn(
            *[*self.command, *self.absent, "--host", f"tcp://127.0.0.1:{port}", "--tlsverify"],
            *["--tlscacert", str(authority.path)],
            *["--tlscert", str(files[0]), "--tlskey", str(files[1])],
        )
        self.await_line(process, f"Listening for HTTP on tcp (127.0.0.1:{port})")
        context = ssl.create_default_context(cafile=authority.path)
        with self.assertRaises((OSError, HTTPException)):
            self.ping(HTTPSConnection("127.0.0.1", port, context=context, timeout=60))
        context.load_cert_chain(*authority.issue("client"))
        connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
        self.assertEqual(self.ping(connection), 200)
        authority.issue("server")
        process.send_signal(signal.SIGHUP)
        self.await_line(process, "reloaded the certificates")
        self.assertEqual(self.ping(connection), 200)
        connection.close()
        process.terminate()
        self.assertEqual(process.wait(60), 0)

    def ping(self, connection: HTTPConnection) -> int:
        connection.request("GET", "/_ping")
        response = connection.getresponse()
        response.read()
        return response.status

    def test_ends_when_nobody_uses_it(self) -> None:
        upstream = HangingEngine(str(self.directory / "absent.sock"))
        self.addCleanup(upstream.close)
        process = self.spawn(
            *["systemd-socket-activate", f"--listen={self.path}"],
            *[*self.command, "--host", "fd://", "--idle-exit", "1", *self.absent],
        )
        self.await_line(process, "Listening on")
        self.assertEqual(get(self.path, "/_ping")[0], 200)
        self.await_line(process, "nobody used this server for 1.0 s")
        self.assertEqual(process.wait(60), 0)


class IdleTests(SynchronousTestCase):
    def test_ends_only_when_nobody_uses_it(self) -> None:
        from dockerapi.server.idle import IdleExit

        clock, ended, waiting = Clock(), [], Deferred[None]()
        engine = Engine(logging=False)
        engine.activation.activate()

        async def wait(job: Job) -> None:
            await waiting

        engine.register("wait", wait)
        idle = IdleExit(engine, 10, clock, lambda: ended.append(clock.seconds()))
        idle.start()
        clock.advance(6)
        idle.touch()
        clock.advance(6)
        self.assertEqual(ended, [])
        engine.job("wait").run()
        clock.pump([5] * 10)
        self.assertEqual(ended, [])
        waiting.callback(None)
        clock.pump([5] * 4)
        self.assertEqual(len(ended), 1)
        self.assertEqual(clock.getDelayedCalls(), [])
