"""The jobs serveapi and acceptconnections on real ports."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from dockerapi.engine.engine import Engine
from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.engine.job import Job
from dockerapi.server.hosts import BadHost
from dockerapi.server.serveapi import USAGE, Server
from dockerapi.server.systemd import InheritedSockets
from tests.server.certificates import Authority


class Greeter(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.factory.text)
        self.transport.loseConnection()


class Greeting(Factory):
    noisy = False
    protocol = Greeter

    def __init__(self, text: str) -> None:
        self.text = text.encode()


class ServeApiTests(TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-serveapi-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = str(self.directory / "d.sock")
        self.engine = Engine(logging=False)
        self.make_server(InheritedSockets({}))

    def make_server(self, inherited: InheritedSockets) -> None:
        self.engine = Engine(logging=False)
        self.server = Server(self.engine, reactor, self.factory, inherited=inherited)
        self.server.register()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.server.stop()))

    def factory(self, listener: str) -> IProtocolFactory:
        return Greeting(listener)

    def job(self, *hosts: str, **environment: str) -> Job:
        job = self.engine.job("serveapi", *hosts)
        job.setenv_bool("BufferRequests", True)
        for name, value in environment.items():
            job.setenv(name, value)
        return job

    async def accept(self) -> None:
        await self.engine.job("acceptconnections").run()

    async def ask(self, address: str | tuple[str, int]) -> str:
        return await deferToThread(self._ask, address)

    @staticmethod
    def _ask(address: str | tuple[str, int]) -> str:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if isinstance(address, tuple) and ":" in address[0]:
            family = socket.AF_INET6
        with socket.socket(family) as client:
            client.settimeout(60)
            client.connect(address)
            return client.recv(999).decode()

    async def fails(self, words: str, *hosts: str, **environment: str) -> None:
        job = self.job(*hosts, **environment)
        error = await self.assertFailure(job.run(), InvalidParameter)
        self.assertIn(words, error.message)
        self.assertEqual(len(error.message.splitlines()), 1)
        self.assertEqual(self.server.gate.ports, [])
        self.assertFalse(os.path.exists(self.path))

    async def test_serves_all_hosts_after_activation(self) -> None:
        hosts = [
            f"unix://{self.path}",
            "tcp://127.0.0.1:0",
            "tcp://[::1]:0",
            "endpoint://tcp:0:interface=127.0.0.1",
        ]
        serving = self.job(*hosts).run()
        await self.server.listening.wait()
        addresses = self.server.addresses
        asked = [self.ask(self.path)]
        asked += [self.ask((a.host, a.port)) for a in addresses[1:]]  # type: ignore[attr-defined]
        answers = [Deferred.fromCoroutine(ask) for ask in asked]
        await deferLater(reactor, 0.05)
        self.assertFalse(any(answer.called for answer in answers))
        await self.accept()
        await self.accept()
        self.assertEqual([await answer for answer in answers], hosts)
        self.assertFalse(serving.called)
        await self.server.stop()
        await serving
        self.assertFalse(os.path.exists(self.path))

    async def test_serves_when_activation_came_first(self) -> None:
        await self.accept()
        self.job(f"unix://{self.path}").run()
        self.assertEqual(await self.ask(self.path), f"unix://{self.path}")

    async def test_serves_at_once_without_buffering(self) -> None:
        self.job(f"unix://{self.path}", BufferRequests="0").run()
        self.assertEqual(await self.ask(self.path), f"unix://{self.path}")

    async def test_lets_everyone_in_when_the_start_failed(self) -> None:
        self.job(f"unix://{self.path}").run()
        answer = Deferred.fromCoroutine(self.ask(self.path))
        self.engine.activation.fail(Failure(EngineError("no disk")))
        self.assertEqual(await answer, f"unix://{self.path}")

    async def test_cancelling_closes(self) -> None:
        serving = self.job(f"unix://{self.path}").run()
        serving.cancel()
        await self.assertFailure(serving, EngineError)
        self.assertFalse(os.path.exists(self.path))

    async def test_usage(self) -> None:
        await self.fails(USAGE)
        self.make_server(InheritedSockets({}))
        await self.fails(USAGE, f"unix://{self.path}", "/var/run/docker.sock")

    async def test_first_failure_closes_all(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            used = taken.getsockname()[1]
            for host, words in [
                (f"tcp://127.0.0.1:{used}", "address already in use"),
                ("tcp://no-such-name.invalid:1", "lookup no-such-name.invalid"),
                ("xyz://", "protocol not available"),
                ("unix:///no/such/directory/x", "no such file"),
                ("fd://", "No sockets found"),
                ("endpoint://nonsense", "bad endpoint description"),
                ("ssl://127.0.0.1:0", "no/key.pem"),
            ]:
                self.make_server(InheritedSockets({}))
                await self.fails(words, f"unix://{self.path}", host, TlsKey="/no/key.pem")
                error = self.server.listening.failure
                assert error is not None
                self.assertIn(host, error.getErrorMessage())

    async def test_plain_tcp_needs_consent(self) -> None:
        for host in ("tcp://0.0.0.0:0", "tcp://[::]:0", "endpoint://tcp:0"):
            self.make_server(InheritedSockets({}))
            await self.fails("--insecure-tcp", host)
            self.make_server(InheritedSockets({}))
            self.job(host, InsecureTcp="1").run()
            await self.server.listening.wait()
            await self.server.stop()

    async def test_an_ssl_description_asks_for_no_client_certificate(self) -> None:
        authority = Authority(self.directory)
        certificate, key = authority.issue("server")
        await self.fails(
            "--insecure-tcp",
            f"endpoint://ssl:0:privateKey={key}:certKey={certificate}",
            TlsVerify="1",
            TlsCa=str(authority.path),
            TlsCert=str(certificate),
            TlsKey=str(key),
        )

    async def test_inherited_sockets(self) -> None:
        tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        unix.bind(self.path)
        unix.listen()
        os.chmod(self.path, 0o600)
        address = tcp.getsockname()
        names = {tcp.detach(): "tcp", unix.detach(): "api"}
        self.make_server(InheritedSockets(names))
        await self.accept()
        self.job("fd://tcp", "fd://api").run()
        await self.server.listening.wait()
        self.assertEqual(await self.ask(address), "fd://tcp")
        self.assertEqual(await self.ask(self.path), "fd://api")
        await self.server.stop()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    async def test_a_bad_inherited_socket_closes_the_good(self) -> None:
        good, bad = socket.create_server(("127.0.0.1", 0)), socket.socket()
        self.addCleanup(bad.close)
        address = good.getsockname()
        self.make_server(InheritedSockets({good.detach(): "", bad.fileno(): ""}))
        await self.fails("no listening socket", "fd://")
        with self.assertRaises(ConnectionRefusedError):
            await self.ask(address)

    async def test_tls_everywhere_on_tcp(self) -> None:
        authority = Authority(self.directory)
        certificate, key = authority.issue("server")
        inherited = socket.create_server(("127.0.0.1", 0))
        self.make_server(InheritedSockets({inherited.detach(): ""}))
        await self.accept()
        hosts = ["tcp://127.0.0.1:0", "fd://", "endpoint://tcp:0:interface=127.0.0.1"]
        self.job(
            *hosts,
            TlsVerify="1",
            TlsCa=str(authority.path),
            TlsCert=str(certificate),
            TlsKey=str(key),
        ).run()
        await self.server.listening.wait()
        for address in self.server.addresses:
            with self.assertRaises(TimeoutError):
                await deferToThread(self._ask_briefly, address)

    @staticmethod
    def _ask_briefly(address: object) -> None:
        where = (address.host, address.port)  # type: ignore[attr-defined]
        with socket.create_connection(where, timeout=0.2) as client:
            client.recv(1)

    async def test_a_second_run_is_refused(self) -> None:
        self.job(f"unix://{self.path}").run()
        error = await self.assertFailure(self.job(f"unix://{self.path}2").run(), EngineError)
        self.assertIn("serves already", error.message)
        self.assertTrue(os.path.exists(self.path))

    def test_bad_host_is_of_the_clients_making(self) -> None:
        self.assertTrue(issubclass(BadHost, InvalidParameter))
