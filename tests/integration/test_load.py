"""Load: hundreds of containers and execs at once, a thousand that do not run; nothing leaks.

Rule: the server runs in a network namespace of its own, so that all links in it are its; what it
has is compared with what it had before, after it has come to rest.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.isolation import OWN_NETWORK
from tests.integration.server import Server, missing, wait_until
from tests.unixhttp import UnixConnection

T = TypeVar("T")
R = TypeVar("R")

_NONE = {"NetworkMode": "none"}
#: How long a server may take until it has cleaned up, in seconds.
_REST = 30.0


class _Api:
    """Requests to a server, each on a connection of its own, any number at once."""

    def __init__(self, path: str) -> None:
        self._path = path

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = UnixConnection(self._path)
        try:
            content = b"" if body is None else json.dumps(body).encode()
            connection.request(method, path, content, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def create(self, command: Sequence[str], **host: object) -> str:
        body = {"Image": "busybox", "Cmd": list(command), "HostConfig": host}
        status, answer = self.call("POST", "/containers/create", body)
        assert status == 201, answer
        return str(json.loads(answer)["Id"])

    def start(self, identity: str) -> None:
        status, answer = self.call("POST", f"/containers/{identity}/start")
        assert status == 204, answer

    def remove(self, identity: str) -> None:
        status, answer = self.call("DELETE", f"/containers/{identity}?force=1")
        assert status == 204, answer

    def execute(self, identity: str, number: int) -> None:
        """Run an exec to its end: its output and its exit code must be its own."""
        body = {
            "Cmd": ["sh", "-c", f"echo {number}; exit {number % 100}"],
            "AttachStdout": True,
            "AttachStderr": True,
        }
        status, answer = self.call("POST", f"/containers/{identity}/exec", body)
        assert status == 201, answer
        name = json.loads(answer)["Id"]
        status, answer = self.call("POST", f"/exec/{name}/start", {"Detach": False})
        assert status == 200, answer
        assert answer[8:] == b"%d\n" % number, answer
        status, answer = self.call("GET", f"/exec/{name}/json")
        assert json.loads(answer)["ExitCode"] == number % 100, answer

    def names(self) -> list[str]:
        return [row["Id"] for row in json.loads(self.call("GET", "/containers/json?all=1")[1])]


#: What the stock of namespaces names at random.
_NUMBERED = re.compile(r"(?<=/netns/)[0-9a-f]+$|(?<=^veth)[0-9a-f]+$")


@attrs.frozen
class _Holdings:
    """What a server has beside memory and descriptors."""

    mounts: list[str]
    links: list[str]
    processes: list[str]
    files: list[str]
    cgroups: list[str]

    @classmethod
    def of(cls, server: Server, containers: Sequence[str]) -> _Holdings:
        root = f"{server.directory}/"
        mounts = Path(f"/proc/{server.pid}/mountinfo").read_text().splitlines()
        links = subprocess.run(
            ("nsenter", "-t", str(server.pid), "-n", "ls", "/proc/self/net/dev_snmp6"),
            capture_output=True,
            check=True,
            text=True,
        )
        folders = (folder for _, found, _ in os.walk("/sys/fs/cgroup") for folder in found)
        return cls(
            mounts=sorted(
                _NUMBERED.sub("#", line.split()[4])
                for line in mounts
                if line.split()[4].startswith(root)
            ),
            links=sorted(_NUMBERED.sub("#", link) for link in links.stdout.split()),
            # Its mounts are not to be seen from here: these are processes.
            processes=sorted(server.leftovers()),
            files=sorted(
                str(path)
                for base in ("data/containers", "run/c", "run/crun", "run/runc")
                for path in (server.directory / base).glob("*")
            ),
            cgroups=sorted(set(folders) & set(containers)),
        )


def _descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def _memory(server: Server) -> int:
    """Return the resident memory in bytes."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class LoadTests(SynchronousTestCase):
    """One server for each test, with the image and whatever it opens once."""

    if missing():
        skip = missing()

    def setUp(self) -> None:
        self.server = Server(prefix=OWN_NETWORK)
        self.server.start()
        self.addCleanup(self.server.remove)
        self.addCleanup(self.server.remove_containers)
        self.server.import_busybox()
        self.api = _Api(self.server.socket)
        self.containers: list[str] = []
        for mode in ("none", "bridge"):
            identity = self.api.create(["sleep", "1000"], NetworkMode=mode)
            self.api.start(identity)
            self.at_once(partial(self.api.execute, identity), range(8))
            self.api.remove(identity)
        self.rest(None)

    def at_once(self, work: Callable[[T], R], over: Sequence[T]) -> list[R]:
        with ThreadPoolExecutor(len(over)) as pool:
            return list(pool.map(work, over))

    def rest(self, before: _Holdings | None) -> None:
        """Wait until the server has cleaned up; with `before`, until it has what it had then."""
        if before is None:
            wait_until(lambda: not self.now().files, _REST)
            time.sleep(0.5)
            return
        wait_until(lambda: self.now() == before, _REST)
        self.assertEqual(attrs.asdict(self.now()), attrs.asdict(before))

    def now(self) -> _Holdings:
        return _Holdings.of(self.server, self.containers)

    def round(self, count: int, **host: object) -> None:
        """Start `count` containers at once, see them run, and remove them at once."""
        ids = self.at_once(lambda _: self.api.create(["sleep", "1000"], **host), range(count))
        self.containers += ids
        self.at_once(self.api.start, ids)
        states = json.loads(self.api.call("GET", "/containers/json")[1])
        self.assertEqual({row["State"] for row in states}, {"running"})
        self.assertEqual(sorted(row["Id"] for row in states), sorted(ids))
        self.at_once(self.api.remove, ids)
        self.assertEqual(self.api.names(), [])

    def assert_unchanged(self, before: _Holdings, descriptors: int) -> None:
        self.rest(before)
        wait_until(lambda: _descriptors(self.server) <= descriptors, _REST)
        self.assertLessEqual(_descriptors(self.server), descriptors)

    def test_two_hundred_started_at_once(self) -> None:
        before, descriptors = self.now(), _descriptors(self.server)
        self.round(200, **_NONE)
        self.assert_unchanged(before, descriptors)
        memory = _memory(self.server)
        self.round(200, **_NONE)
        self.assert_unchanged(before, descriptors)
        self.assertLess(_memory(self.server), memory * 1.1)

    def test_fifty_started_at_once_on_the_bridge(self) -> None:
        before, descriptors = self.now(), _descriptors(self.server)
        self.round(50)
        self.assert_unchanged(before, descriptors)

    def test_two_hundred_execs_at_once(self) -> None:
        identity = self.api.create(["sleep", "1000"], **_NONE)
        self.containers.append(identity)
        self.api.start(identity)
        self.at_once(lambda number: self.api.execute(identity, number), range(20))
        self.rest_of_execs()
        before, descriptors = self.now(), _descriptors(self.server)
        self.at_once(lambda number: self.api.execute(identity, number), range(200))
        self.assert_unchanged(before, descriptors)

    def rest_of_execs(self) -> None:
        """Wait until no monitor of an exec is left."""
        wait_until(lambda: len(self.now().processes) <= 1, _REST)

    def test_a_thousand_that_do_not_run(self) -> None:
        before, descriptors = self.now(), _descriptors(self.server)
        ids: list[str] = []
        with ThreadPoolExecutor(8) as pool:
            ids += pool.map(lambda _: self.api.create(["true"], **_NONE), range(1000))
        self.containers += ids
        self.assertEqual(sorted(self.api.names()), sorted(ids))
        memory = _memory(self.server)
        begun = time.monotonic()
        for _ in range(100):
            self.assertEqual(len(self.api.names()), 1000)
        # Hundreds of KiB of JSON each: from memory, encoded once. dockerd takes 50 ms for one.
        self.assertLess(time.monotonic() - begun, 60)
        self.assertLess(_memory(self.server), memory * 1.1)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self.api.remove, ids))
        self.assertEqual(self.api.names(), [])
        self.assert_unchanged(before, descriptors)
