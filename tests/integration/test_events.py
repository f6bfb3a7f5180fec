"""Events as clients read them: sequences as dockerd's, filters, a past that outlives the server."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from tests.integration.load import call
from tests.integration.server import Server, missing, wait_until

_SECONDS = 1_000_000_000


class EventTests(TestCase):
    timeout = 120

    def setUp(self) -> None:
        if reason := missing():
            raise SkipTest(reason)
        self.server = Server()
        self.addCleanup(self.server.remove)
        self.server.start()
        self.server.import_busybox()
        self.begin = self._now()

    def _now(self) -> str:
        return f"{time.time():.6f}"

    def past(self, query: str = "", **filters: list[str]) -> list[dict[str, Any]]:
        """Return what happened since the test began."""
        wanted = json.dumps(filters).replace('"', "%22").replace(" ", "%20")
        target = f"/events?since={self.begin}&until={self._now()}&filters={wanted}{query}"
        status, answer = call(self.server.socket, "GET", target)
        self.assertEqual(status, 200, answer)
        if answer is None:
            return []
        if isinstance(answer, dict):
            return [answer]
        return [json.loads(line) for line in answer.splitlines()]

    def actions(self, name: str) -> list[str]:
        """Return what happened to a container, and to it in networks, in order."""
        found = [
            one["Action"] if one["Type"] == "container" else f"net {one['Action']}"
            for one in self.past()
            if one["Actor"]["Attributes"].get("name") == name or one["Type"] == "network"
        ]
        self.begin = self._now()
        return found

    def test_sequences(self) -> None:
        """Each sequence was compared with Debian's dockerd, but where a network is left."""
        run = self.server.run
        run("run", "--rm", "--name", "aa", "--network=none", "busybox", "true")
        end = ["die", "destroy"]
        self._sees("aa", ["create", "attach", "net connect", "start", *end], "net disconnect")
        run("run", "--rm", "--name", "bb", "--network=none", "busybox", "nosuch")
        self._sees("bb", ["create", "attach", "net connect", "destroy"], "net disconnect")
        run("run", "-d", "--name", "cc", "--network=none", "-l", "k=v", "busybox", "sleep", "1000")
        self._sees("cc", ["create", "net connect", "start"])
        run("exec", "cc", "true")
        self._sees("cc", ["exec_create: true ", "exec_start: true ", "exec_die"])
        run("exec", "cc", "sh", "-c", "exit 3")
        self._sees("cc", ["exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die"])
        run("exec", "cc", "nosuch")
        self._sees("cc", ["exec_create: nosuch ", "exec_start: nosuch "])
        for verb in ("pause", "unpause", "top"):
            run(verb, "cc")
        self._sees("cc", ["pause", "unpause", "top"])
        run("restart", "-t", "0", "cc")
        again = ["net connect", "start", "restart"]
        self._sees("cc", ["kill", "kill", "die", "stop", *again], "net disconnect")
        run("kill", "-s", "USR1", "cc")
        self._sees("cc", ["kill"])
        run("kill", "cc")
        self._sees("cc", ["kill", "die"], "net disconnect")
        run("rename", "cc", "dd")
        (renamed,) = self.past()
        self.assertEqual(renamed["Actor"]["Attributes"]["oldName"], "/cc")
        self._sees("dd", ["rename"])
        run("start", "dd")
        run("stop", "-t", "0", "dd")
        self._sees("dd", ["net connect", "start", "kill", "kill", "die", "stop"], "net disconnect")
        run("rm", "dd")
        self._sees("dd", ["destroy"])

    def _sees(self, name: str, wanted: list[str], somewhere: str = "") -> None:
        """Check the events; `somewhere` comes anywhere after the container's end."""
        time.sleep(0.1)
        found = self.actions(name)
        if somewhere:
            self.assertIn(somewhere, found)
            found.remove(somewhere)
        self.assertEqual(found, wanted)

    def test_attributes_and_filters(self) -> None:
        run = self.server.run
        run("run", "--name", "aa", "--network=none", "-l", "k=v", "busybox", "sh", "-c", "exit 3")
        (died,) = self.past(event=["die"])
        attributes = died["Actor"]["Attributes"]
        self.assertIn(attributes.pop("execDuration"), ("0", "1", "2"))
        wanted = {"k": "v", "image": "busybox", "name": "aa", "exitCode": "3"}
        self.assertEqual(attributes, wanted)
        self.assertEqual(died["scope"], "local")
        self.assertEqual(died["time"], died["timeNano"] // _SECONDS)
        self.assertEqual(len(self.past(container=["aa"], event=["die", "start"])), 2)
        self.assertEqual(len(self.past(label=["k=v"])), len(self.past(type=["container"])))
        self.assertEqual(self.past(label=["k=w"]), [])
        self.assertEqual(len(self.past(image=["busybox"], event=["create"])), 1)
        wait_until(lambda: len(self.past(network=["none"])) == 2)
        told = self.past(network=["none"])
        self.assertEqual([one["Action"] for one in told], ["connect", "disconnect"])
        run("tag", "busybox", "other:t1")
        run("rmi", "other:t1")
        images = self.past(type=["image"])
        self.assertEqual([one["Action"] for one in images], ["tag", "untag"])
        run("container", "prune", "-f")
        run("image", "prune", "-f")
        run("network", "prune", "-f")
        pruned = self.past(event=["prune"])
        self.assertEqual([one["Type"] for one in pruned], ["container", "image", "network"])
        status, answer = call(self.server.socket, "GET", "/events?filters=%7B%22type%22%3A1%7D")
        self.assertEqual(status, 400)
        status, answer = call(self.server.socket, "GET", "/events?since=5&until=2")
        self.assertEqual(
            (status, answer["message"]), (400, "`since` time (5) cannot be after `until` time (2)")
        )
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(float(self.begin)))
        lines = self.server.docker("events", "--since", f"{since}Z", "--until", self._now())
        self.assertIn(b"exitCode=3", lines)

    def test_the_past_outlives_the_server(self) -> None:
        self.server.docker("run", "--name", "aa", "--network=none", "busybox", "true")
        wait_until(lambda: "disconnect" in {one["Action"] for one in self.past()})
        before = self.past()
        self.server.kill()
        self.server.start()
        self.server.docker("rm", "aa")
        after = self.past()
        self.assertEqual(after[: len(before)], before)
        self.assertEqual([one["Action"] for one in after[len(before) :]], ["destroy"])

    def test_no_gap_and_no_repetition(self) -> None:
        """Readers that join while much happens see each event once, in one order."""
        self.server.docker("create", "--name", "aa", "--network=none", "busybox", "true")
        stop = threading.Event()

        def rename() -> None:
            names = ["aa", "bb"]
            while not stop.is_set():
                call(self.server.socket, "POST", f"/containers/{names[0]}/rename?name={names[1]}")
                names.reverse()

        worker = threading.Thread(target=rename)
        worker.start()
        until = f"{time.time() + 2:.3f}"
        readers = []
        for _ in range(8):
            target = f"http://d/events?since={self.begin}&until={until}"
            readers.append(
                subprocess.Popen(
                    ("curl", "-sN", "--unix-socket", self.server.socket, target),
                    stdout=subprocess.PIPE,
                )
            )
            time.sleep(0.15)
        told = [reader.communicate()[0].splitlines() for reader in readers]
        stop.set()
        worker.join()
        self.assertGreater(len(told[0]), 200)
        for lines in told:
            times = [json.loads(line)["timeNano"] for line in lines]
            self.assertEqual(times, sorted(set(times)))
            self.assertEqual(lines, told[0][: len(lines)])
            self.assertLess(len(told[0]) - len(lines), 3)

    def test_readers_that_stall_cost_nothing(self) -> None:
        """Fifty readers that do not read: 20,000 events take no more memory, nobody waits."""
        self.server.docker("run", "-d", "--name", "aa", "--network=none", "busybox", "sleep", "999")
        readers = [
            subprocess.Popen(
                (
                    "sh",
                    "-c",
                    f"curl -sN --unix-socket {self.server.socket} http://d/events | "
                    "(read -r line; sleep 1000)",
                ),
                start_new_session=True,
            )
            for _ in range(50)
        ]
        self.addCleanup(_end, readers)
        self.assertTrue(wait_until(lambda: self._listeners() == 50))
        self._resize(4000)
        before = _memory(self.server.pid)
        begun = time.monotonic()
        self._resize(20_000)
        lasted = time.monotonic() - begun
        grown = _memory(self.server.pid) - before
        print(f"20,000 events: {lasted:.1f} s, {grown >> 10} KiB more")
        self.assertLess(grown, 6 << 20)
        self.assertEqual(self._listeners(), 50)
        _end(readers)
        self.assertTrue(wait_until(lambda: self._listeners() == 0))

    def _listeners(self) -> int:
        return int(call(self.server.socket, "GET", "/info")[1]["NEventsListener"])

    def _resize(self, times: int) -> None:
        """Make events by the cheapest operation that makes one."""
        request = b"POST /containers/aa/resize?h=1&w=1 HTTP/1.1\r\nHost: d\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.server.socket)
            for _ in range(times // 50):
                client.sendall(request * 50)
                answers = b""
                while answers.count(b"HTTP/1.1 200") < 50:
                    data = client.recv(65536)
                    self.assertTrue(data, answers[-300:])
                    answers += data


def _memory(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def _end(readers: list[subprocess.Popen[bytes]]) -> None:
    for reader in readers:
        if reader.poll() is None:
            subprocess.run(("kill", "-9", "--", f"-{reader.pid}"), check=False)
            reader.wait()
