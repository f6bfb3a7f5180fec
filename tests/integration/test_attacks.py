"""Attacks on a whole server: its log, its answers, its files, its patience; and dockerd beside it.

Rule: hostile images and requests go to our server alone; what is asked of dockerd only reads.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from tests.integration import dockerd, server
from tests.integration.dockerd import Dockerd
from tests.integration.server import Server, wait_until

#: Clears the screen, begins a line of its own that looks like the log's, and more.
EVIL = "\x1b[2J\n2026-01-01T00:00:00+0000 [forged#critical] root logged in\r\n\x07\u202e\x9b1m"
#: Where clients may write texts of their own.
FIELDS: tuple[dict[str, Any], ...] = (
    {"Labels": {EVIL: EVIL}},
    {"Env": [f"A={EVIL}"]},
    {"User": EVIL},
    {"Image": EVIL},
    {"WorkingDir": f"/{EVIL}"},
    {"Entrypoint": [EVIL]},
    {"StopSignal": EVIL},
    {"Hostname": EVIL},
    {"Cmd": ["sh", "-c", f"printf '%s' '{EVIL}' | tee /dev/stderr"]},
    {"HostConfig": {"Binds": [f"{EVIL}:/x"]}},
    {"HostConfig": {"NetworkMode": EVIL}},
    {"HostConfig": {"SecurityOpt": [EVIL]}},
    {"HostConfig": {"Runtime": EVIL}},
)
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[(-|[\w.]+#\w+)\] |\t)")


def talk(path: str, request: bytes, patience: float = 10.0) -> bytes:
    """Send bytes to a server and return everything that it answers until it closes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(patience)
        client.connect(path)
        client.sendall(request)
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
        return answer


class AttackCase(SynchronousTestCase):
    """Each test has a server of its own."""

    skip = server.missing() or None
    prefix: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.server = Server("--debug", prefix=self.prefix)
        self.addCleanup(self.server.remove)
        self.server.start()
        self.server.import_busybox()
        self.addCleanup(self.server.remove_containers)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes, bytes]:
        """Return status, head and body of an answer."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        answer = talk(self.server.socket, head.encode("latin-1") + data)
        head_out, _, body_out = answer.partition(b"\r\n\r\n")
        return int(head_out.split()[1]), head_out, body_out

    def create(self, name: str, **body: Any) -> tuple[int, bytes]:
        """Create a container without a network; return status and answer."""
        host = {"NetworkMode": "none", **body.pop("HostConfig", {})}
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host, **body}
        status, _, answer = self.request("POST", f"/containers/create?name={name}", body)
        return status, answer

    def answer_time(self) -> float:
        """Return how long a ping takes."""
        begin = time.monotonic()
        self.assertEqual(self.request("GET", "/_ping")[0], 200)
        return time.monotonic() - begin


class TextTests(AttackCase):
    """Control characters and lines within what clients and containers say."""

    def send_everywhere(self) -> None:
        quoted = quote(EVIL, safe="")
        for path in (
            f"/{quoted}",
            f"/containers/{quoted}/json",
            f"/v1.41/images/{quoted}/json",
            f"/networks/{quoted}",
            f"/exec/{quoted}/json",
            f"/containers/json?filters={quoted}",
            f"/events?until=1&filters={quote(json.dumps({'label': [EVIL]}))}",
            "/%0d%0aSet-Cookie:%20a=b",
        ):
            self.request("GET", path)
        self.request("POST", f"/images/create?fromImage={quoted}&tag={quoted}")
        self.request("POST", f"/containers/create?name={quoted}", {"Image": "busybox"})
        for number, field in enumerate(FIELDS):
            name = f"evil{number}"
            if self.create(name, **field)[0] == 201:
                self.request("POST", f"/containers/{name}/start")
                self.request("POST", f"/containers/{name}/exec", {"Cmd": [EVIL], "User": EVIL})
                self.request("DELETE", f"/containers/{name}?force=1")
        for raw in (
            b"GET /\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /_ping HTTP/1.1\r\nHost: a\r\nUser-Agent: Docker-Client/\x1b[2J (x)\r\n\r\n",
            b"GET /_ping HTTP/1.1\r\nHost: a\r\nX: y\nForged: line\r\n\r\n",
            b"\x1b[2J\r\n\r\n",
        ):
            self.assertIn(b" 400 ", talk(self.server.socket, raw).partition(b"\r\n")[0])

    def test_no_line_of_the_log_is_forged(self) -> None:
        self.send_everywhere()
        self.server.remove_containers()
        log = (self.server.directory / "log").read_bytes()
        self.assertIn(b"forged", log)
        for line in log.splitlines():
            self.assertRegex(line, LINE)
            self.assertNotIn(b"2026-01-01", LINE.match(line)[0])  # type: ignore[index]
            self.assertIsNone(CONTROL.search(line), line)
        self.assertNotIn(b"Traceback", log)

    def test_no_header_is_forged(self) -> None:
        known = {b"api-version", b"docker-experimental", b"ostype", b"server", b"content-type"}
        known |= {b"date", b"content-length", b"connection", b"cache-control", b"pragma"}
        known.add(b"location")
        for path in (
            "/%0d%0aSet-Cookie:%20a=b",
            "/containers/a%0d%0aX:%20y/json",
            "//evil.org/x",
            "//evil.org/..",
            "/./%0d%0aX:%20y",
            "/\\evil.org/../\\evil.org",
        ):
            status, head, _ = self.request("GET", path)
            self.assertIn(status, (301, 400, 404), head)
            self.assertNotRegex(head, rb"(?i)\r\nlocation: *(//|\\\\|/\\\\|\w+:)")
            names = {line.partition(b":")[0].lower() for line in head.splitlines()[1:]}
            self.assertLessEqual(names, known)

    def test_what_clients_print_is_json(self) -> None:
        self.create("labelled", Labels={EVIL: EVIL}, Cmd=["echo", EVIL])
        for path in ("/containers/json?all=1", "/containers/labelled/json"):
            _, _, body = self.request("GET", path)
            self.assertIsNone(CONTROL.search(body.decode().encode("ascii", "ignore").strip()))


class FileTests(AttackCase):
    """Files and sockets of a server that was started without a mask."""

    prefix = ("sh", "-c", 'umask 0; exec "$0" "$@"')

    def test_other_users_enter_nothing(self) -> None:
        self.create("kept", Cmd=["sleep", "60"], Env=["TOKEN=secret"])
        self.request("POST", "/containers/kept/start")
        directory = self.server.directory
        for name in ("data", "run"):
            self.assertEqual((directory / name).stat().st_mode & 0o007, 0, name)
        self.assertEqual(Path(self.server.socket).stat().st_mode & 0o777, 0o660)
        for folder, _, files in os.walk(directory / "run" / "c"):
            for file in files:
                # Beneath a directory that only root enters; but nobody else may write in any case.
                path = Path(folder, file)
                if path.name not in ("config.json", "conmon.pid"):
                    self.assertEqual(path.lstat().st_mode & 0o002, 0, path)


class PatienceTests(AttackCase):
    """Clients that would keep the server busy for ever."""

    def test_an_expression_without_end(self) -> None:
        config = {"Type": "json-file", "Config": {"labels-regex": "(a+)+$"}}
        label = {"a" * 40 + "!": "x"}
        self.create("endless", Labels=label, HostConfig={"LogConfig": config})
        self.request("POST", "/containers/endless/start")
        self.request("GET", "/containers/endless/logs?stdout=1&details=1")
        self.assertLess(self.answer_time(), 30)

    def test_hundreds_of_waiting_clients(self) -> None:
        self.create("crowded", Cmd=["sleep", "1000"])
        self.request("POST", "/containers/crowded/start")
        descriptors = Path(f"/proc/{self.server.pid}/fd")
        before = len(list(descriptors.iterdir()))
        clients = []
        for target in (
            "POST /containers/crowded/attach?stream=1&stdout=1",
            "POST /containers/crowded/wait",
            "GET /events",
            "GET /containers/crowded/logs?follow=1&stdout=1",
        ):
            for _ in range(150):
                client = socket.socket(socket.AF_UNIX)
                client.connect(self.server.socket)
                client.sendall(
                    f"{target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()
                )
                clients.append(client)
        self.assertLess(self.answer_time(), 30)
        for client in clients:
            client.close()
        self.assertTrue(wait_until(lambda: len(list(descriptors.iterdir())) <= before + 5))


#: What a container sees of itself; it only reads.
SIGHT = r"""
grep -E '^(Cap|NoNew|Seccomp|Groups|Uid|Gid)' /proc/self/status
cut -d' ' -f2-4 /proc/mounts | sed 's/lowerdir.*//' | sort; ls -l /dev | sed 's/ [A-Z].*:.. / /'
cat /proc/self/limits /proc/self/oom_score_adj; umask; ls /sys/firmware /proc/acpi /proc/scsi
ls -l /proc/self/ns | sed 's/.*-> //' | cut -d: -f1; ls /proc/self/fd
cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn
"""


class SightTests(SynchronousTestCase):
    """What a container has of privileges, mounts, devices, limits: as under dockerd with runc."""

    skip = server.missing() or dockerd.missing() or None

    def test_as_under_dockerd(self) -> None:
        with Dockerd() as theirs, Server("--default-runtime", "runc") as ours:
            for each in (theirs, ours):
                archive = server.busybox_archive()
                each.docker("import", "-", "busybox:latest", stdin=archive)
            for options in (
                (),
                ("--cap-add", "SYS_ADMIN", "--cap-drop", "CHOWN"),
                ("--cap-drop", "ALL"),
                ("--user", "1000:1000", "--read-only"),
                ("--tmpfs", "/t:size=1m,exec", "--init"),
                ("--security-opt", "no-new-privileges", "--ulimit", "nofile=100:200"),
                ("--sysctl", "net.core.somaxconn=77", "--ipc", "host", "--pid", "host"),
                ("--security-opt", "seccomp=unconfined", "--shm-size", "1m", "-t"),
            ):
                seen, found = (self.sight(each, *options) for each in (theirs, ours))
                difference = difflib.unified_diff(seen, found, lineterm="", n=0)
                self.assertEqual(seen, found, "\n".join(difference))

    def sight(self, each: Dockerd, *options: str) -> list[str]:
        command = ("run", "--rm", "--network", "none", *options, "busybox", "sh", "-c", SIGHT)
        lines = each.docker(*command).decode().splitlines()
        # The one masks by now what the other did not know.
        return [line.rstrip() for line in lines if not line.startswith("/proc/interrupts")]
