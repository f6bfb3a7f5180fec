"""The server is killed at any moment, under load: nothing is lost, doubled or left.

DOCKERAPI_TEST_SEED repeats the kills of an earlier run, DOCKERAPI_TEST_KILLS changes their number.
"""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, TestCase

from dockerapi.local.backend import bridge_name
from tests.integration.load import Client, Record, call
from tests.integration.server import Server, missing, wait_until

SEED = int(os.environ.get("DOCKERAPI_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
KILLS = int(os.environ.get("DOCKERAPI_TEST_KILLS", "50"))
CLIENTS = 4
_ID = re.compile(r"[0-9a-f]{64}")


class Traces:
    """What of a server's containers is to be seen on the host."""

    def __init__(self, server: Server) -> None:
        self.data = server.directory / "data"
        self.run = server.directory / "run"
        self.bridge = bridge_name(str(self.data))

    def mounts(self) -> set[str]:
        """Return the ids of containers whose root is mounted."""
        found = re.findall(
            rf" {re.escape(str(self.data))}/containers/([0-9a-f]{{64}})/merged ",
            Path("/proc/self/mounts").read_text(),
        )
        assert len(found) == len(set(found)), f"mounted twice: {found}"
        return set(found)

    def monitors(self) -> list[str]:
        """Return the id in the bundle of each conmon of a container, and the runtimes that run."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode().split("\0")
            except (OSError, UnicodeDecodeError):
                continue
            if not any(
                word.startswith(f"{self.run}/") or f"={self.run}/" in word for word in words
            ):
                continue
            name = os.path.basename(words[0])
            if name == "conmon" and "--exec" not in words:
                found.append(words[words.index("--cid") + 1])
            elif name in ("runc", "crun", "env"):
                found.append(" ".join(words))
        return sorted(found)

    def cgroups(self, known: set[str]) -> set[str]:
        """Return those of `known` that have a cgroup."""
        base = Path("/sys/fs/cgroup")
        parents = [base, *(entry for entry in base.iterdir() if entry.is_dir())]
        return {
            identity
            for identity in known
            if any((parent / "dockerapi" / identity).is_dir() for parent in parents)
        }

    def states(self) -> set[str]:
        """Return the ids that the runtimes know."""
        return self._names("run/runc") | self._names("run/crun")

    def homes(self) -> set[str]:
        """Return the ids with a directory in the data root."""
        return self._names("data/containers")

    def runs(self) -> set[str]:
        """Return the ids with a directory in the run root."""
        return self._names("run/c")

    def pins(self) -> int:
        """Return how many network namespaces are pinned."""
        folder = self.run / "netns"
        return len(list(folder.iterdir())) if folder.is_dir() else 0

    def links(self) -> int:
        """Return how many links are on the bridge."""
        folder = Path(f"/sys/class/net/{self.bridge}/brif")
        return len(list(folder.iterdir())) if folder.is_dir() else 0

    def ports(self) -> set[int]:
        """Return the ports of the host that the bridge's rules lead to containers."""
        table = subprocess.run(
            ("nft", "list", "table", "ip", self.bridge), capture_output=True, check=False
        ).stdout.decode()
        return {int(port) for port in re.findall(r"tcp \. (\d+) : ", table)}

    def _names(self, folder: str) -> set[str]:
        path = self.data.parent / folder
        return {one.name for one in path.iterdir()} if path.is_dir() else set()


class CrashTests(TestCase):
    timeout = 300

    def setUp(self) -> None:
        if reason := missing():
            raise SkipTest(reason)
        self.server = Server("--debug")
        self.addCleanup(self.server.remove)
        self.traces = Traces(self.server)
        self.all_ids: set[str] = set()

    def test_killed_at_random_moments(self) -> None:
        """What the API tells after 50 kills is what clients were answered, and what there is."""
        print(f"seed {SEED}", file=sys.stderr)
        chance = random.Random(SEED)
        self.server.start()
        self.server.import_busybox()
        clients = [Client(number, SEED, self.server.socket) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(KILLS):
            if chance.random() < 0.3:
                self.server.kill()
                self.server.launch()
                time.sleep(chance.uniform(0.0, 0.6))
            else:
                time.sleep(chance.uniform(0.02, 0.5))
            self.server.kill()
            self.server.start()
        for client in clients:
            client.stop()
        for client in clients:
            client.join(40)
        mistakes = [one for client in clients for one in client.mistakes]
        self.assertEqual(mistakes, [], self.server.log)
        self.assertGreater(sum(client.answers for client in clients), 3 * KILLS)
        records = [one for client in clients for one in client.records]
        self.all_ids = {one.id for one in records if one.id}
        self._compare_answers(records)
        self._compare_host()
        self._compare_ports(records)
        self._remove_everything(records)

    def _compare_answers(self, records: list[Record]) -> None:
        """Compare what the clients know with what the server tells."""
        for record in records:
            if record.id and record.code is not None:
                wait_until(partial(self._has_ended, record))
        listed = {one["Id"]: one for one in self._get("/containers/json?all=1")}
        self.assertEqual(len(listed), len(self._get("/containers/json?all=1")))
        for record in records:
            found = listed.get(record.id)
            gone = record.auto_remove and record.tried
            if record.removed:
                self.assertIsNone(found, record)
            elif record.id and not record.doomed and not gone:
                self.assertIsNotNone(found, record)
            if found is not None:
                self._compare(record, found["Names"][0][1:], self._inspect(record))

    def _compare(self, record: Record, name: str, document: dict[str, Any]) -> None:
        state = document["State"]
        self.assertIn(name, record.names)
        starts = self._log(record).count("started")
        self.assertLessEqual(record.started - record.cut, starts, (record, state))
        self.assertLessEqual(starts, record.tried, (record, state))
        if record.started and not record.stopped and record.code is None:
            self.assertTrue(state["Running"], (record, state))
        if starts and record.code is not None:
            self.assertEqual(state["Status"], "exited", (record, state))
            self.assertEqual(state["ExitCode"], record.code, (record, state))
            lasted = _seconds(state["FinishedAt"]) - _seconds(state["StartedAt"])
            self.assertLess(lasted, 30.0, (record, state))
            self.assertGreater(lasted, 0.0, (record, state))
            self.assertFalse(record.auto_remove, (record, state))

    def _compare_ports(self, records: list[Record]) -> None:
        """Compare whose port is published: theirs, and no one else's, and held by the server."""
        for record in records:
            if record.network != "published" or not record.id:
                continue
            state = self._inspect(record)
            if state.get("State", {}).get("Running"):
                (port,) = state["NetworkSettings"]["Ports"]["80/tcp"]
                with socket.socket() as holder, self.assertRaises(OSError):
                    holder.bind(("127.0.0.1", int(port["HostPort"])))

    def _compare_host(self) -> None:
        """Compare what runs with what is to be seen on the host."""
        containers = self._get("/containers/json?all=1")
        there = {one["Id"] for one in containers}
        running = {one["Id"] for one in containers if one["State"] == "running"}
        self._settles(self.traces.mounts, running)
        self._settles(self.traces.monitors, sorted(running))
        self._settles(self.traces.states, running)
        self._settles(lambda: self.traces.cgroups(self.all_ids), running)
        self._settles(lambda: self.traces.homes() - there, set())
        self._settles(lambda: self.traces.runs() - there, set())
        bridged = {
            one["Id"]
            for one in containers
            if one["Id"] in running and "bridge" in one["NetworkSettings"]["Networks"]
        }
        published = [
            port["PublicPort"]
            for one in containers
            if one["Id"] in running
            for port in one["Ports"]
            if "PublicPort" in port
        ]
        self.assertEqual(len(published), len(set(published)))
        self._settles(self.traces.ports, set(published))
        # Four of each kind are made ahead.
        self._settles(lambda: self.traces.links() - len(bridged) <= 4, True)
        self._settles(lambda: self.traces.pins() - len(running) <= 8, True)

    def _remove_everything(self, records: list[Record]) -> None:
        """Remove every container: names are free, and nothing is left on the host."""
        names = [name for record in records for name in record.names]
        self.server.remove_containers()
        for name in random.Random(SEED).sample(names, min(10, len(names))):
            status, answer = call(
                self.server.socket,
                "POST",
                f"/containers/create?name={name}",
                {"Image": "busybox", "Cmd": ["true"]},
            )
            self.assertEqual(status, 201, answer)
        self.server.remove_containers()
        for look in (self.traces.mounts, self.traces.states, self.traces.homes, self.traces.runs):
            self._settles(look, set())
        self._settles(self.traces.monitors, [])
        self._settles(lambda: self.traces.cgroups(self.all_ids), set())
        self.server.stop()
        self.assertEqual(self.traces.pins(), 0)
        self.assertFalse(Path(f"/sys/class/net/{self.traces.bridge}").exists())
        rules = subprocess.run(("nft", "list", "ruleset"), capture_output=True, check=False).stdout
        self.assertNotIn(self.traces.bridge.encode(), rules)
        self.assertEqual(self.server.leftovers(), [])
        self.assertEqual(list(self.server.directory.glob("data/tmp/*")), [])

    def _settles(self, look: Any, wanted: Any) -> None:
        """Check that `look` comes to answer `wanted`: cleaning up comes after the answer."""
        wait_until(lambda: look() == wanted)
        self.assertEqual(look(), wanted)

    def _get(self, target: str) -> Any:
        status, answer = call(self.server.socket, "GET", target)
        self.assertEqual(status, 200, answer)
        return answer

    def _inspect(self, record: Record) -> dict[str, Any]:
        return dict(call(self.server.socket, "GET", f"/containers/{record.id}/json")[1])

    def _has_ended(self, record: Record) -> bool:
        return not self._inspect(record).get("State", {}).get("Running")

    def _log(self, record: Record) -> str:
        target = f"/containers/{record.id}/logs?stdout=1"
        status, answer = call(self.server.socket, "GET", target)
        self.assertEqual(status, 200, answer)
        return (answer or b"").decode(errors="replace")


def _seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds since 1970."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{rest or 0}")
