"""Clients that load a server, and remember what they were answered, for tests that kill it.

Rule: what was answered is certain; what was under way when the server died may be or not be.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs

from tests.unixhttp import UnixConnection

#: How long a client waits before it tries again, in seconds.
_PAUSE = 0.03
_NETWORKS: dict[str, dict[str, Any]] = {
    "none": {"NetworkMode": "none"},
    "bridge": {"NetworkMode": "bridge"},
    "published": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
}
_LONG = "echo started; trap 'exit 0' TERM; while :; do sleep 1 & wait; done"


class Gone(Exception):
    """The server died under the request, or is not there."""


def call(path: str, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    """Make one request; return the status and the decoded answer; raise `Gone`."""
    connection = UnixConnection(path)
    try:
        headers = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        connection.request(method, target, data, headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Gone(str(error)) from error
    finally:
        connection.close()
    try:
        return answer.status, json.loads(content) if content else None
    except ValueError:
        return answer.status, content


@attrs.define
class Record:
    """What is known of one container.

    :ivar network: a key of `_NETWORKS`.
    :ivar names: those that it may have: two while a rename is not certain.
    :ivar started: how many starts were answered, and `tried` how many were sent.
    :ivar stopped: whether a stop or kill was sent since the last start was answered.
    :ivar cut: how many stops, kills and forced removals were sent: they may come before a word.
    :ivar removed: whether its removal was answered, and `doomed` whether it was sent.
    :ivar code: what a short-lived one ends with; None for one that runs until it is stopped.
    """

    names: list[str]
    network: str
    code: int | None = None
    auto_remove: bool = False
    id: str = ""
    started: int = 0
    tried: int = 0
    stopped: bool = False
    cut: int = 0
    doomed: bool = False
    removed: bool = False


class Client(threading.Thread):
    """One client: makes, starts, stops, renames, removes containers of its own.

    :ivar records: of every container that it tried to make.
    :ivar mistakes: answers that no server should give.
    """

    def __init__(self, number: int, seed: int, path: str) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.records: list[Record] = []
        self.mistakes: list[str] = []
        self.answers = 0
        self._number = number
        self._random = random.Random(seed * 1000 + number)
        self._path = path
        self._count = 0
        self._end = threading.Event()

    def stop(self) -> None:
        """End after the request that is under way."""
        self._end.set()

    def run(self) -> None:
        """Do one thing after another until told to stop."""
        while not self._end.is_set():
            making = (self._run_short, self._run_removed, self._make_long)
            choices: list[Callable[[Any], None]] = [*making]
            living = [one for one in self.records if one.id and not one.doomed and one.code is None]
            if len(living) >= 3:
                choices = [self._end_one, self._rename, self._remove, self._exec, self._exec]
            elif living:
                choices += [self._rename, self._exec, self._end_one, self._start_one]
            try:
                choice = self._random.choice(choices)
                if choice in making:
                    choice(None)
                else:
                    choice(self._random.choice(living))
            except Gone:
                time.sleep(_PAUSE)

    def _call(self, method: str, target: str, body: Any = None, *wanted: int) -> tuple[int, Any]:
        status, answer = call(self._path, method, target, body)
        self.answers += 1
        if status not in (wanted or (200, 201, 204, 304)):
            self.mistakes.append(f"{method} {target}: {status} {answer}")
        return status, answer

    def _create(self, command: str, *, code: int | None, auto_remove: bool = False) -> Record:
        self._count += 1
        network = self._random.choice(("none", "none", "bridge", "published"))
        record = Record([f"k{self._number}-{self._count}"], network, code, auto_remove)
        self.records.append(record)
        body = {
            "Image": "busybox",
            "Cmd": ["sh", "-c", command],
            "StopTimeout": 2,
            "HostConfig": {**_NETWORKS[network], "AutoRemove": auto_remove},
        }
        target = f"/containers/create?name={record.names[0]}"
        status, answer = self._call("POST", target, body)
        if status == 201:
            record.id = answer["Id"]
        return record

    def _start_one(self, record: Record) -> None:
        record.tried += 1
        status, _ = self._call("POST", f"/containers/{record.id}/start")
        if status == 204:
            # 304 says that it runs; a stop that was cut short may still end it.
            record.started += 1
            record.stopped = False

    def _run_short(self, _: object) -> None:
        code = self._random.randrange(1, 100)
        record = self._create(f"echo started; sleep 0.2; exit {code}", code=code)
        self._start_one(record)

    def _run_removed(self, _: object) -> None:
        record = self._create("echo started; sleep 0.1", code=0, auto_remove=True)
        self._start_one(record)

    def _make_long(self, _: object) -> None:
        self._start_one(self._create(_LONG, code=None))

    def _end_one(self, record: Record) -> None:
        record.stopped = True
        record.cut += 1
        self._call("POST", f"/containers/{record.id}/stop?t=1")

    def _exec(self, record: Record) -> None:
        body = {"Cmd": ["true"]}
        status, answer = self._call("POST", f"/containers/{record.id}/exec", body, 201, 409, 404)
        if status == 201:
            target = f"/exec/{answer['Id']}/start"
            self._call("POST", target, {"Detach": True}, 200, 204, 409, 404, 400)

    def _rename(self, record: Record) -> None:
        self._count += 1
        name = f"k{self._number}-{self._count}"
        record.names.append(name)
        status, _ = self._call("POST", f"/containers/{record.id}/rename?name={name}")
        record.names = [name] if status == 204 else record.names

    def _remove(self, record: Record) -> None:
        record.doomed = True
        record.stopped = True
        record.cut += 1
        status, _ = self._call("DELETE", f"/containers/{record.id}?force=1", None, 204)
        record.removed = status == 204
