"""A real server loads what it uses, and TLS still works where it comes in later."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.server import Server, missing, wait_until
from tests.server.certificates import Authority

#: Serves; SIGUSR1 has it write the names of its modules into a file.
_PROGRAM = """
import json, os, signal, sys

def tell(number, frame):
    with open("{path}.new", "w") as file:
        json.dump(sorted(sys.modules), file)
    os.rename("{path}.new", "{path}")

signal.signal(signal.SIGUSR1, tell)
{serve}
"""
#: As ``-m dockerapi`` does, and as twistd does.
_COMMAND = "from dockerapi.__main__ import main\nsys.exit(main())"
_TWISTD = (
    "from twisted.scripts.twistd import run\n"
    "sys.argv[1:1] = ['--nodaemon', '--pidfile=', 'dockerapi']\n"
    "run()"
)

#: What a server on a unix socket does not need before something is asked of it.
_NOT_NEEDED = {
    *("OpenSSL", "cryptography", "service_identity", "twisted.internet.ssl"),
    *("twisted.protocols.tls", "twisted.web.client", "psutil", "yaml"),
    *("pyroute2.ndb.main", "pyroute2.iproute.linux", "werkzeug.serving", "werkzeug.test"),
    *("dockerapi.upstream", "dockerapi.local.images.pulling"),
}
#: Of what no part may be left for the first container to load.
_LIBRARIES = ("dockerapi.", "pyroute2.", "twisted.", "klein.", "werkzeug.")


class _Server(Server):
    """Ours, which can be asked for the names of its modules."""

    def __init__(self, *options: str, serve: str = _COMMAND) -> None:
        super().__init__(*options)
        self._told = self.directory / "modules"
        program = _PROGRAM.format(path=self._told, serve=serve)
        at = self._command.index("-m")
        self._command = (*self._command[:at], "-c", program, *self._command[at + 2 :])

    def modules(self) -> set[str]:
        self._told.unlink(missing_ok=True)
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        assert wait_until(self._told.exists), self.log
        return set(json.loads(self._told.read_text()))


class _TLSServer:
    """Takes connections with TLS, verified or not, and answers what arrives on them.

    :ivar received: all bytes that arrived.
    :ivar failures: what ended handshakes.
    """

    def __init__(self, authority: Authority, answer: bytes = b"") -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.issue("receiver"))
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.received = b""
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(60)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(plain, server_side=True) as connection:
                    self._take(connection.recv, connection.sendall)
            except OSError as error:
                self.failures.append(str(error))

    def _take(self, receive: Callable[[int], bytes], send: Callable[[bytes], None]) -> None:
        while data := receive(65536):
            self.received += data
            if self._answer:
                send(self._answer)
                return


class LeanTests(SynchronousTestCase):
    skip = missing() or None

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="dockerapi-lean-")
        self.addCleanup(directory.cleanup)
        self.authority = Authority(Path(directory.name))
        self.server = _Server("--insecure-registry", "127.0.0.1")
        self.addCleanup(self.server.remove)
        self.server.start()

    def tls_server(self, answer: bytes = b"") -> _TLSServer:
        server = _TLSServer(self.authority, answer)
        self.addCleanup(server.close)
        return server

    def run_container(self, *options: str) -> None:
        self.server.import_busybox()
        self.addCleanup(self.server.remove_containers)
        self.server.docker("run", *options, "busybox", "echo", "said once")

    def test_what_is_not_needed_is_not_loaded(self) -> None:
        before = self.server.modules()
        self.assertEqual(before & _NOT_NEEDED, set())
        # Such names would be there.
        self.assertIn("pyroute2.netlink", before)
        self.run_container("-p", "80")
        # The first container does not wait for a module.
        late = {name for name in self.server.modules() - before if name.startswith(_LIBRARIES)}
        self.assertEqual(late, set())

    def test_twistd_does_not_load_it_either(self) -> None:
        server = _Server(serve=_TWISTD)
        self.addCleanup(server.remove)
        server.start()
        self.assertEqual(server.modules() & _NOT_NEEDED, set())

    def test_a_registry_with_tls(self) -> None:
        registry = self.tls_server(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        done = self.server.run("pull", f"127.0.0.1:{registry.port}/some/thing:v1")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"GET /v2/some/thing/manifests/v1 ", registry.received)
        self.assertIn("OpenSSL", self.server.modules())

    def test_a_receiver_of_logs_with_verified_tls(self) -> None:
        receiver = self.tls_server()
        options = {
            "syslog-address": f"tcp+tls://127.0.0.1:{receiver.port}",
            "syslog-tls-ca-cert": str(self.authority.path),
        }
        given = [part for item in options.items() for part in ("--log-opt", "=".join(item))]
        self.run_container("--log-driver", "syslog", *given)
        self.assertTrue(wait_until(lambda: b"said once" in receiver.received), self.server.log)

    def test_a_receiver_of_logs_that_another_authority_vouches_for(self) -> None:
        receiver = self.tls_server()
        other = Authority(self.authority.directory, "other")
        options = {
            "syslog-address": f"tcp+tls://127.0.0.1:{receiver.port}",
            "syslog-tls-ca-cert": str(other.path),
        }
        given = [part for item in options.items() for part in ("--log-opt", "=".join(item))]
        self.run_container("--log-driver", "syslog", *given)
        self.assertTrue(wait_until(lambda: receiver.failures), self.server.log)
        self.assertIn("UNKNOWN_CA", receiver.failures[0])
        self.assertEqual(receiver.received, b"")


class LaterTests(SynchronousTestCase):
    """What was left out can be had, in a process of its own each."""

    def tell(self, program: str) -> str:
        begin = (
            "from dockerapi.lean import load_by_need, load_reactor_without_tls\nload_by_need()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", begin + program], capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip()

    def test_names_of_packages_and_of_modules(self) -> None:
        told = self.tell(
            "import asyncio, pyroute2, urllib.request, werkzeug\n"
            "from http import cookiejar\n"
            "from twisted.internet import defer\n"
            "import pdb, difflib\n"
            "import sys\n"
            "assert 'asyncio.base_events' not in sys.modules\n"
            "assert asyncio.Future is defer.Future\n"
            "asyncio.run(asyncio.sleep(0))\n"
            "assert asyncio.Future is defer.Future\n"
            "print(asyncio.Queue.__name__, pyroute2.IPRoute.__name__, pdb.Pdb.__name__)\n"
            "print(cookiejar.CookieJar.__name__, urllib.request.urlopen.__name__)\n"
            "print(werkzeug.Request.__name__, difflib.ndiff.__name__)\n"
        )
        names = "Queue IPRoute Pdb CookieJar urlopen Request ndiff"
        self.assertEqual(told.split(), names.split())

    def test_names_that_are_not_there(self) -> None:
        told = self.tell(
            "import difflib, pyroute2\n"
            "for module in (difflib, pyroute2):\n"
            "    print(hasattr(module, 'no_such_name'), end=' ')\n"
            "try:\n"
            "    from pyroute2 import no_such_name\n"
            "except ImportError as error:\n"
            "    print(type(error).__name__)\n"
        )
        self.assertEqual(told, "False False ImportError")

    def test_threads_that_ask_at_the_same_time(self) -> None:
        told = self.tell(
            "import threading, pyroute2\n"
            "begin, found = threading.Barrier(8), []\n"
            "def ask():\n"
            "    begin.wait()\n"
            "    found.append(pyroute2.WiSet.__name__)\n"
            "threads = [threading.Thread(target=ask) for _ in range(8)]\n"
            "for thread in threads: thread.start()\n"
            "for thread in threads: thread.join()\n"
            "print(*found)\n"
        )
        self.assertEqual(told.split(), ["WiSet"] * 8)

    def test_tls_after_a_reactor_without(self) -> None:
        told = self.tell(
            "load_reactor_without_tls()\n"
            "import sys\n"
            "from twisted.internet import endpoints, reactor, tcp\n"
            "assert 'OpenSSL' not in sys.modules\n"
            "assert not hasattr(tcp.Connection, 'startTLS')\n"
            "from twisted.protocols import tls\n"
            "from twisted.internet.ssl import CertificateOptions\n"
            "print(tls.TLSMemoryBIOProtocol.__name__)\n"
        )
        self.assertEqual(told, "TLSMemoryBIOProtocol")
